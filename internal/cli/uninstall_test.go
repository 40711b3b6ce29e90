package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemoveFiles(t *testing.T) {
	for _, c := range []struct {
		name string
		have []string
		// removed and left are paths in the folder; "." is itself.
		removed, left []string
	}{
		{"all of it ours", []string{"key", ".key-12.tmp"}, []string{"key", ".key-12.tmp", "."}, nil},
		{"a file of somebody else", []string{"key", "notes"}, []string{"key"}, []string{".", "notes"}},
		{"names like ours", []string{"key.bak", "my.key-1.tmp", ".key-1"}, nil, []string{".", ".key-1", "key.bak", "my.key-1.tmp"}},
		{"a folder of somebody else", []string{"key", "theirs/key"}, []string{"key"}, []string{".", "theirs", "theirs/key"}},
		{"empty", nil, []string{"."}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "warren")
			fill(t, folder, c.have...)
			removed, err := removeFiles(folder+"/", "key", ".key-*.tmp")
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, name := range c.removed {
				kind := "file "
				if name == "." {
					kind = "folder "
				}
				want = append(want, kind+filepath.Join(folder, name))
			}
			if diff := cmp.Diff(want, removed); diff != "" {
				t.Errorf("removed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.left, tree(t, folder)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRemoveFilesOfNoFolder is for --state-dir given wrongly: what is there is not ours.
func TestRemoveFilesOfNoFolder(t *testing.T) {
	base := t.TempDir()
	fill(t, base, "file", "real/")
	if err := os.Symlink("real", filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "link", "nothing"} {
		if removed, err := removeFiles(filepath.Join(base, name), "key"); err != nil || len(removed) != 0 {
			t.Errorf("%s: removed %q, %v", name, removed, err)
		}
	}
	if diff := cmp.Diff([]string{".", "file", "link", "real"}, tree(t, base)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// fill makes a folder with files, and with folders where a name ends in a slash.
func fill(t *testing.T, folder string, names ...string) {
	t.Helper()
	for _, name := range append([]string{"/"}, names...) {
		path := filepath.Join(folder, name)
		dir, isFile := filepath.Dir(path), true
		if name[len(name)-1] == '/' {
			dir, isFile = path, false
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if !isFile {
			continue
		}
		if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// tree lists what is at and below a folder, sorted; nothing where it is not there.
func tree(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		name, _ := filepath.Rel(folder, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
