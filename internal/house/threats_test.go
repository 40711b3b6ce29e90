package house

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheThreatModelNamesWhatIsThere: every row of the table names a test, a fuzz target or a file of cases, and all that are named exist.
func TestTheThreatModelNamesWhatIsThere(t *testing.T) {
	functions := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		maps.Copy(functions, matches(string(text), `(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	document := read(t, "docs/threat-model.md")
	named := matches(document, "`((?:Test|Fuzz)[A-Z]\\w*)")
	if len(named) < 10 {
		t.Fatalf("docs/threat-model.md names the tests %q: this test does not see them", slices.Sorted(maps.Keys(named)))
	}
	missing(t, "the repository", named, functions)
	for line := range strings.Lines(document) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], " ---") || strings.HasPrefix(cells[1], " who ") {
			continue
		}
		shown := slices.Collect(maps.Keys(matches(cells[3], "`([^`]+)`")))
		if len(shown) == 0 && !strings.Contains(cells[3], "every scenario") {
			t.Errorf("nothing shows: %s", strings.TrimSpace(line))
		}
		for _, what := range shown {
			if !strings.Contains(what, "/") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, what)); err != nil {
				t.Errorf("docs/threat-model.md: %v", err)
			}
		}
	}
}
