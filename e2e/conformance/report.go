package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// result is what a suite found in one run.
type result struct {
	suite   suite
	begun   time.Time
	took    time.Duration
	setting [][2]string
	cases   []testCase
	broken  string // why the run has no or not all cases
}

// err is nil if no case failed.
func (r result) err() error {
	if r.broken != "" {
		return fmt.Errorf("%s: %s", r.suite.name, r.broken)
	}
	if bad, left := r.count(failed), r.count(missed); bad+left > 0 {
		return fmt.Errorf("%s: %d of %d cases failed, %d were not run", r.suite.name, bad, len(r.cases), left)
	}
	return nil
}

func (r result) count(v verdict) (n int) {
	for _, c := range r.cases {
		if c.verdict == v {
			n++
		}
	}
	return n
}

// verdicts are all there are, the good first.
var verdicts = []verdict{passed, failed, skipped, missed}

func (r result) counts() string {
	var parts []string
	for _, v := range verdicts {
		parts = append(parts, fmt.Sprintf("%d %s", r.count(v), v))
	}
	return strings.Join(parts, ", ")
}

// print writes the result as people watch it.
func (r result) print(out io.Writer) {
	for _, c := range r.cases {
		if c.verdict != passed {
			fmt.Fprintf(out, "%s: %s: %s\n", c.verdict, c.name, line(c.reason))
		}
	}
	fmt.Fprintf(out, "%s: %s, in %s\n", r.suite.title, r.counts(), r.took.Round(time.Second))
	if r.broken != "" {
		fmt.Fprintf(out, "%s: not whole: %s\n", r.suite.title, r.broken)
	}
}

const head = `# Conformance

Written by ` + "`make conformance`" + `: others' test suites on a cluster of real kubelets, containerd and kube-proxy (` + "`e2e/cluster`" + `), on which Warren's manifests
installed it. Each suite's section is of its last whole run, where there was one. Every case that did not pass is named with the reason; only those are skipped that no
network plugin decides.

`

// write puts the result into the report, in place of what the same suite found before, unless that was whole and this is not, or there is nothing to
// tell. The other suites keep their sections.
func (r result) write(file string) error {
	if len(r.cases) == 0 {
		return nil
	}
	before, err := os.ReadFile(file) //nolint:gosec // whoever runs this chose it
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(before), "\n## ")[1:] {
		title, _, _ := strings.Cut(section, "\n")
		sections[title] = strings.TrimSpace(section)
	}
	if whole := strings.Contains(sections[r.suite.title], "| cases |") && !strings.Contains(sections[r.suite.title], notWhole); whole && r.broken != "" {
		return nil
	}
	sections[r.suite.title] = r.section()
	var text strings.Builder
	text.WriteString(head)
	for _, s := range suites {
		if sections[s.title] == "" {
			sections[s.title] = s.title + "\n\n" + s.about + "\n\nNot run yet."
		}
		text.WriteString("## " + sections[s.title] + "\n\n")
	}
	return os.WriteFile(file, []byte(strings.TrimSpace(text.String())+"\n"), 0o644) //nolint:gosec // for everybody to read
}

// notWhole begins the line of a section that says so.
const notWhole = "| not whole |"

func (r result) section() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n%s\n\n| | |\n| --- | --- |\n", r.suite.title, r.suite.about)
	fmt.Fprintf(&text, "| cases | %s |\n", r.counts())
	for _, s := range r.setting {
		fmt.Fprintf(&text, "| %s | %s |\n", s[0], s[1])
	}
	fmt.Fprintf(&text, "| begun | %s, lasted %s |\n", r.begun.UTC().Format("2006-01-02 15:04 UTC"), r.took.Round(time.Second))
	if r.broken != "" {
		fmt.Fprintf(&text, "%s %s |\n", notWhole, cell(r.broken))
	}
	for _, v := range verdicts[1:] {
		if r.count(v) == 0 {
			continue
		}
		fmt.Fprintf(&text, "\n| %s | reason |\n| --- | --- |\n", v)
		for _, c := range r.cases {
			if c.verdict == v {
				fmt.Fprintf(&text, "| %s | %s |\n", cell(c.name), cell(c.reason))
			}
		}
	}
	return strings.TrimSpace(text.String())
}

// maxReason is how much of a reason is told.
const maxReason = 300

// line is a text on one line, cut where it is long.
func line(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return text
}

// cell is a text that a table's cell can hold.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "'").Replace(line(text))
}
