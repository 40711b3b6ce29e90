package policy_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the golden files of testdata should hold")

// TestGolden reads testdata/*.txt. A file begins with a scene that all its cases share. A case is
//
//	== its title
//	what it adds to the scene or changes in it
//	----
//	what the index makes of it, and what it cannot honour
//
// scene_test.go says how a scene is written. Names are shortened to what tells them apart.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata holds no golden files (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { testGoldenFile(t, file) })
	}
}

func testGoldenFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
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
			got, err := golden(shared + "\n" + body)
			if err != nil {
				t.Fatal(err)
			}
			rewritten += "\n== " + input + "\n----\n" + got
			if !*update && got != want {
				t.Errorf("the ruleset differs (-want +got); if it should, run go test ./policy -run Golden -update\n%s", gocmp.Diff(want, got))
			}
		})
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(file, []byte(rewritten), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var digests = regexp.MustCompile(`-([0-9a-f]{4})[0-9a-f]{28}\b`)

func golden(scene string) (string, error) {
	x, err := parseScene(scene)
	if err != nil {
		return "", err
	}
	text := digests.ReplaceAllString(x.Ruleset().String(), "-$1")
	for _, p := range x.Problems() {
		text += fmt.Sprintf("\n# %s %s: %s\n#   %s\n", p.Kind, strings.TrimPrefix(p.Namespace+"/"+p.Policy, "/"), p.Field, p.Detail)
	}
	return text, nil
}
