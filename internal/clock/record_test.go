package clock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRecord(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir)
	if err != nil || r.Steps() != 0 || !r.Seen().IsZero() {
		t.Fatalf("a new record: %d steps, seen %s, %v", r.Steps(), r.Seen(), err)
	}
	noon := time.Date(2026, 1, 2, 12, 0, 0, 1000, time.UTC)
	for _, step := range []struct {
		name       string
		do         func(time.Time) error
		when, seen time.Time
		steps      uint32
	}{
		{"a look", r.Look, noon, noon, 0},
		{"another", r.Look, noon.Add(time.Minute), noon.Add(time.Minute), 0},
		{"a look at a clock that went back", r.Look, noon.Add(-time.Hour), noon.Add(time.Minute), 0},
		{"back", r.Back, noon.Add(-time.Hour), noon.Add(-time.Hour), 1},
		{"a look after that", r.Look, noon.Add(-time.Minute), noon.Add(-time.Minute), 1},
		{"back again", r.Back, noon.Add(-2 * time.Hour), noon.Add(-2 * time.Hour), 2},
	} {
		if err := step.do(step.when); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for which, record := range map[string]*Record{"it": r, "the next": reopen(t, dir)} {
			if record.Steps() != step.steps || !record.Seen().Equal(step.seen) {
				t.Errorf("%s: %s has %d steps and was seen %s, want %d and %s",
					step.name, which, record.Steps(), record.Seen(), step.steps, step.seen)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Errorf("files are left: %s", left)
	}
}

func reopen(t *testing.T, dir string) *Record {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBadRecord: a file that is none is told of, and the clock is followed all the same.
func TestBadRecord(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "no number": "many\n", "negative": "-1\n", "too large": "4294967296\n", "long": strings.Repeat("1", 100),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, FileName), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(dir)
			if err == nil || !strings.Contains(err.Error(), FileName) {
				t.Errorf("the error is %v", err)
			}
			if err := r.Back(time.Now()); err != nil || reopen(t, dir).Steps() != 1 {
				t.Errorf("it could not be replaced: %v", err)
			}
		})
	}
	t.Run("a link", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink("/etc/hostname", filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Error("a link was followed")
		}
	})
	t.Run("a folder that cannot be written", func(t *testing.T) {
		r, err := Open(filepath.Join(t.TempDir(), "missing"))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Back(time.Now()); err == nil || r.Steps() != 1 {
			t.Errorf("%d steps, %v; want 1 in memory, and an error", r.Steps(), err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte("3\n"))
	f.Add([]byte(""))
	f.Add([]byte("99999999999999999999999999999999999999"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(dir, FileName)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir)
		if err != nil && r.Steps() != 0 {
			t.Fatalf("%q: %d steps and %v", content, r.Steps(), err)
		}
		before := r.Steps()
		if err := r.Back(time.Now()); err != nil {
			t.Fatal(err)
		}
		if again := reopen(t, dir); again.Steps() != before+1 {
			t.Fatalf("%q: %d steps, and %d after one more", content, before, again.Steps())
		}
	})
}
