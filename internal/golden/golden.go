// Package golden runs scenes whose outcome is written down beside them, for the tests of the cores.
package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Run reads testdata/*.txt. A file begins with a scene that all its cases share. A case is
//
//	== its title
//	what it adds to the scene or changes in it
//	----
//	what outcome makes of it
//
// With update, which is the test's own flag -update, the files are written anew.
func Run(t *testing.T, update bool, outcome func(scene string) (string, error)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata holds no golden files (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { run(t, file, update, outcome) })
	}
}

func run(t *testing.T, file string, update bool, outcome func(scene string) (string, error)) {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // a test's own
	if err != nil {
		t.Fatal(err)
	}
	shared, rest, _ := strings.Cut(string(text), "\n== ")
	rewritten := shared
	for _, part := range strings.Split(rest, "\n== ") {
		input, want, _ := strings.Cut(part, "\n----\n")
		input = strings.TrimRight(input, "\n")
		title, body, _ := strings.Cut(input, "\n")
		t.Run(title, func(t *testing.T) {
			got, err := outcome(shared + "\n" + body)
			if err != nil {
				t.Fatal(err)
			}
			rewritten += "\n== " + input + "\n----\n" + got
			if !update && got != want {
				t.Errorf("the outcome differs (-want +got); if it should, run this package's tests with -run Golden -update\n%s", cmp.Diff(want, got))
			}
		})
	}
	if update && !t.Failed() {
		if err := os.WriteFile(file, []byte(rewritten), 0o600); err != nil { //nolint:gosec // a test's own
			t.Fatal(err)
		}
	}
}
