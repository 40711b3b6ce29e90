package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warren-mesh/warren/e2e/vm/job"
)

// report is what the machine said. Its fields are to be read when both readers are at their ends.
type report struct {
	out     io.Writer
	started time.Time
	onUp    func()

	up       bool
	results  []job.Result
	packages map[string]*count

	mu sync.Mutex // guards out
}

// count is how many of a package's tests, subtests included, said how they ended.
type count struct {
	passed, failed int
	// skipped are names. The reason was printed before each.
	skipped []string
}

// verdict is a test's line in what `go test -v` prints.
var verdict = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// readOutput passes on what the tests print, less the lines that say that one starts or goes on.
func (r *report) readOutput(from io.Reader) {
	lines := bufio.NewReader(from)
	current := &count{}
	for {
		line, err := lines.ReadString('\n')
		if name, ok := strings.CutPrefix(line, job.Begin); ok {
			current = &count{}
			r.packages[strings.TrimSpace(name)] = current
		}
		if found := verdict.FindStringSubmatch(line); found != nil {
			current.add(found[1], found[2])
		}
		if line != "" && !strings.HasPrefix(line, "=== ") {
			r.print(line)
		}
		if err != nil {
			return
		}
	}
}

func (c *count) add(verdict, name string) {
	switch verdict {
	case "PASS":
		c.passed++
	case "FAIL":
		c.failed++
	default:
		c.skipped = append(c.skipped, name)
	}
}

func (r *report) readResults(from io.Reader) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if lines.Text() == job.Up {
			r.up = true
			r.onUp()
			r.print(fmt.Sprintf("up after %s\n", time.Since(r.started).Round(time.Second)))
		}
		if result, ok := job.ParseResult(lines.Text()); ok {
			r.results = append(r.results, result)
		}
	}
}

func (r *report) print(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(r.out, line) // our own output: nobody is left to tell
}

// check prints a summary and is an error unless every package has run, and passed at least one test and failed none.
func (r *report) check(packages []string) error {
	var errs []error
	for _, name := range packages {
		c, ok := r.packages[name]
		if !ok {
			c = &count{}
		}
		i := slices.IndexFunc(r.results, func(result job.Result) bool { return result.Package == name })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("%s: it has no result", name))
		case r.results[i].Code != 0 || c.failed > 0:
			errs = append(errs, fmt.Errorf("%s: failed with %d", name, r.results[i].Code))
		case c.passed == 0:
			errs = append(errs, fmt.Errorf("%s: no test ran", name))
		}
		fmt.Fprintf(r.out, "%s: %d passed, %d failed, %d skipped\n", name, c.passed, c.failed, len(c.skipped))
		for _, test := range c.skipped {
			fmt.Fprintf(r.out, "  skipped: %s\n", test)
		}
	}
	return errors.Join(errs...)
}
