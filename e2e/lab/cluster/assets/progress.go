package assets

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress reads what the go command prints and says now and then how far it is.
type progress struct {
	start time.Time
	last  string // the package that is linked

	mu       sync.Mutex // guards all below: two writers and a ticker
	w        io.Writer
	rest     []byte // of a line not yet whole
	doing    string
	compiled int
	total    int // packages there are; those in Go's cache are never counted as compiled
	kept     []string
}

// keep is how many lines of go's own words an error repeats.
const keep = 40

// Write takes go's output: package paths as they are compiled, downloads, errors.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, b...)
	for {
		i := bytes.IndexByte(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		p.line(string(p.rest[:i]))
		p.rest = p.rest[i+1:]
	}
}

func (p *progress) line(line string) {
	switch download, ok := strings.CutPrefix(line, "go: downloading "); {
	case ok:
		p.doing = "downloading " + download
	case line == p.last:
		p.compiled++
		p.doing = "linking"
	case line != "" && !strings.ContainsAny(line, " \t:"):
		p.compiled++
		p.doing = "compiling " + line
	default:
		if p.kept = append(p.kept, line); len(p.kept) > keep {
			p.kept = p.kept[1:]
		}
	}
}

func (p *progress) expect(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total, p.doing = total, "compiling"
}

func (p *progress) say(doing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing = doing
}

// messages are go's last lines that were not progress.
func (p *progress) messages() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(append(p.kept, string(p.rest)), "\n")
}

// every prints a line each interval until stopped.
func (p *progress) every(interval time.Duration) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				p.print()
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func (p *progress) print() {
	p.mu.Lock()
	defer p.mu.Unlock()
	elapsed := time.Since(p.start).Round(time.Second)
	if p.total == 0 {
		fmt.Fprintf(p.w, "  %s: %s\n", elapsed, p.doing)
		return
	}
	fmt.Fprintf(p.w, "  %s: %d of at most %d packages compiled, %s\n", elapsed, p.compiled, p.total, p.doing)
}
