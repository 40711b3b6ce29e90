package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	for name, c := range map[string]struct{ output, results, want string }{
		"passed":         {"==> a\n=== RUN T\n--- PASS: T (0.0s)\nPASS\n", "up\na 0\n", ""},
		"failed":         {"==> a\n--- FAIL: T (0.0s)\n", "up\na 1\n", "a: failed with 1"},
		"failed, says 0": {"==> a\n--- FAIL: T (0.0s)\n--- PASS: U (0.0s)\n", "up\na 0\n", "a: failed with 0"},
		"none ran":       {"==> a\ntesting: warning: no tests to run\nPASS\n", "up\na 0\n", "a: no test ran"},
		"all skipped":    {"==> a\n    x_test.go:1: why\n--- SKIP: T (0.0s)\n", "up\na 0\n", "a: no test ran"},
		"it hung":        {"==> a\n--- PASS: T (0.0s)\n", "up\n", "a: it has no result"},
		"another's":      {"==> b\n--- PASS: T (0.0s)\n", "up\nb 0\na 0\n", "a: no test ran"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &report{out: &bytes.Buffer{}, started: time.Now(), onUp: func() {}, packages: map[string]*count{}}
			r.readOutput(strings.NewReader(c.output))
			r.readResults(strings.NewReader(c.results))
			got := ""
			if err := r.check([]string{"a"}); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if !r.up {
				t.Error("it does not say that it is up")
			}
		})
	}
}

func TestNewest(t *testing.T) {
	const known = "linux-image-6.12-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64\nlinux-image-6.12.117+deb12-cloud-amd64\n" +
		"linux-image-6.12.99+deb12-cloud-amd64\nlinux-image-6.13.1-cloud-amd64-dbg\nlinux-image-6.13.1-cloud-amd64-unsigned\nlinux-image-6.13.1-amd64\n"
	if diff := cmp.Diff("linux-image-6.12.117+deb12-cloud-amd64", newest(known)); diff != "" {
		t.Error(diff)
	}
}
