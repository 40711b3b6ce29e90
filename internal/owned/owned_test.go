package owned

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const most = 16

// TestRead spoils a good file in one way each.
func TestRead(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(path string) error
		want  string
	}{
		"good":              {func(string) error { return nil }, ""},
		"a link":            {func(path string) error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) }, "thing PATH is a symbolic link"},
		"a folder":          {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o600)) }, "thing PATH is a directory, want a regular file"},
		"a pipe":            {func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }, "thing PATH is a special file (p---------)"},
		"of another mode":   {func(path string) error { return os.Chmod(path, 0o640) }, "thing PATH has mode 0640, want 0600: chmod 0600 PATH"},
		"somebody else's":   {func(path string) error { return os.Chown(path, 1234, -1) }, "thing PATH is owned by uid 1234, want uid 0: chown 0 PATH"},
		"as long as may be": {func(path string) error { return os.Truncate(path, most) }, ""},
		"too long":          {func(path string) error { return os.Truncate(path, most+1) }, "thing PATH has 17 bytes, more than the 16 that are read"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := errors.Join(os.WriteFile(path, []byte("content"), 0o600), os.Chmod(path, 0o600)); err != nil {
				t.Fatal(err)
			}
			switch err := tt.spoil(path); {
			case errors.Is(err, fs.ErrPermission):
				t.Skip("needs root:", err)
			case err != nil:
				t.Fatal(err)
			}
			content, info, err := Read("thing", path, 0o600, most)
			if tt.want == "" {
				if err != nil || info.Size() != int64(len(content)) || !strings.HasPrefix(string(content), "content") {
					t.Errorf("read %q, %v", content, err)
				}
				return
			}
			if want := strings.ReplaceAll(tt.want, "PATH", path); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

// TestOpen tells what is not there from what is wrong.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open("folder", filepath.Join(dir, "none"), fs.ModeDir|0o700); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := Open("folder", dir, fs.ModeDir|0o700)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("folder", filepath.Join(dir, "f"), fs.ModeDir|0o700); err == nil || !strings.Contains(err.Error(), "is a regular file, want a directory") {
		t.Errorf("a file in its place: %v", err)
	}
}
