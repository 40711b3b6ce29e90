package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/spf13/pflag"
)

// TestDocumentsKnowEveryFlag compares the flags with the table in docs/operate.md, both ways.
func TestDocumentsKnowEveryFlag(t *testing.T) {
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`--[^|]+)\\|").FindAllSubmatch(text, -1) {
		for _, flag := range regexp.MustCompile("`--([a-z-]+)`").FindAllSubmatch(row[1], -1) {
			documented[string(flag[1])] = true
		}
	}
	var o Options
	fs := pflag.NewFlagSet("warrend", pflag.ContinueOnError)
	o.AddFlags(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		if !documented[f.Name] {
			t.Errorf("docs/operate.md does not have --%s", f.Name)
		}
	})
	for name := range documented {
		if fs.Lookup(name) == nil {
			t.Errorf("docs/operate.md has --%s, and warrend does not", name)
		}
	}
}
