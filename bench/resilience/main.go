// Command resilience makes docs/resilience.md of what the scenarios printed that let things happen under traffic (`go test -v ./e2e`):
//
//	resilience -o docs/resilience.md userspace.log kernel.log
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "docs/resilience.md", "file to write")
	flag.Parse()
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "resilience:", err)
		os.Exit(1)
	}
}

func run(out string, logs []string) error {
	var rows []row
	for _, name := range logs {
		content, err := os.ReadFile(name) //nolint:gosec // named on the command line
		if err != nil {
			return err
		}
		found, err := parse(bytes.NewReader(content))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, found...)
	}
	if len(rows) == 0 {
		return fmt.Errorf("no row in %q: they are what `go test -v ./e2e` prints", logs)
	}
	return os.WriteFile(out, []byte(render(rows)), 0o644) //nolint:gosec // a document
}
