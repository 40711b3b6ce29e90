package cluster

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

const (
	tailBytes = 64 << 10 // of a log that are looked at
	tailLines = 8        // that are shown
	lineBytes = 600      // of each that are shown
)

// complaint matches a line in which a program says what is wrong: klog's errors, etcd's, a Go runtime's last words.
var complaint = regexp.MustCompile(`^[EF]\d{4} |"level":"(error|fatal|panic)"|^(Error|error|panic|fatal error):|^unknown |^nice: `)

// explanation is the end of what the program logged since it started: its complaints, else its last lines.
func (p *process) explanation() string {
	text, err := tail(p.log, p.offset)
	if err != nil {
		return fmt.Sprintf("\n(no log: %v)", err)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	var complaints []string
	for _, line := range lines {
		if complaint.MatchString(line) {
			complaints = append(complaints, line)
		}
	}
	if len(complaints) > 0 {
		lines = complaints
	}
	lines = lines[max(0, len(lines)-tailLines):]
	for i, line := range lines {
		if len(line) > lineBytes {
			lines[i] = line[:lineBytes] + "..."
		}
	}
	return fmt.Sprintf("\n%s says:\n\t%s", p.log, strings.Join(lines, "\n\t"))
}

// tail reads the last part of a file, not from before offset.
func tail(name string, offset int64) (string, error) {
	f, err := os.Open(name) //nolint:gosec // a log that run made
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(offset, info.Size()-tailBytes), tailBytes))
	return string(text), err
}
