package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWrite has a suite's new section take the place of its old one, and of no other's.
func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "conformance.md")
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	write := func(suite suite, cases ...testCase) string {
		t.Helper()
		if err := (result{suite: suite, begun: begun, took: time.Minute, cases: cases}).write(file); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	write(suites[1], testCase{name: "services | all", verdict: failed, reason: "not\nyet"}, testCase{name: "fine", verdict: passed})
	text := write(suites[0], testCase{name: "denies", verdict: skipped, reason: "old"})
	for _, want := range []string{"| cases | 1 passed, 1 failed, 0 skipped, 0 not run |", `| services \| all | not yet |`, "| denies | old |", "Not run yet."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	text = write(suites[0], testCase{name: "denies", verdict: passed})
	if strings.Contains(text, "| denies |") || !strings.Contains(text, `| services \| all |`) || strings.Count(text, "## ") != len(suites) {
		t.Errorf("after another run of the first suite:\n%s", text)
	}
	if err := (result{suite: suites[0], cases: []testCase{{name: "denies", verdict: missed}}, broken: "interrupted"}).write(file); err != nil {
		t.Fatal(err)
	}
	if again := write(suites[1], testCase{name: "services | all", verdict: failed, reason: "not\nyet"}, testCase{name: "fine", verdict: passed}); again != text {
		t.Errorf("an interrupted run of one suite, and another's result again, write another report:\n%s", again)
	}
}

// TestErr has a run fail for a case that failed, and for one that is not whole, even with all its cases passed.
func TestErr(t *testing.T) {
	fine := testCase{name: "a", verdict: passed}
	for _, c := range []struct {
		result result
		want   string
	}{
		{result{suite: suites[0], cases: []testCase{fine, {name: "b", verdict: skipped}}}, ""},
		{result{suite: suites[0], cases: []testCase{fine, {name: "b", verdict: failed}}}, "netpol: 1 of 2 cases failed, 0 were not run"},
		{result{suite: suites[0], cases: []testCase{fine, {name: "b", verdict: missed}}}, "netpol: 0 of 2 cases failed, 1 were not run"},
		{result{suite: suites[0], cases: []testCase{fine}, broken: "out of time"}, "netpol: out of time"},
	} {
		got := ""
		if err := c.result.err(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("error %q, want %q", got, c.want)
		}
	}
}
