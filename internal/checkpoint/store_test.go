package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// saved is a store with a plan in it.
func saved(t *testing.T, p mesh.Plan) *Store {
	t.Helper()
	s := New(t.TempDir())
	save(t, s, p, true)
	return s
}

func save(t *testing.T, s *Store, p mesh.Plan, wantWritten bool) {
	t.Helper()
	if written, err := s.Save(p); err != nil || written != wantWritten {
		t.Fatalf("written %v, %v, want %v", written, err, wantWritten)
	}
}

func wantLoads(t *testing.T, s *Store, want mesh.Plan) {
	t.Helper()
	got, err := s.Load(want.Node, want.Lanes[0].PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, comparePlans); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func wantFiles(t *testing.T, s *Store, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("files (-want +have):\n%s", diff)
	}
}

// TestSaveWritesWhatDiffers and nothing else, also in the next process.
func TestSaveWritesWhatDiffers(t *testing.T) {
	s := saved(t, plan(2))
	save(t, s, plan(2), false)
	save(t, s, plan(3), true)
	wantLoads(t, s, plan(3))
	save(t, s, plan(3), false)
	next := New(s.dir)
	wantLoads(t, next, plan(3))
	save(t, next, plan(3), false)
	save(t, New(s.dir), plan(3), true) // it was not read: it could be anything
	info, err := os.Stat(s.Path())
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	wantFiles(t, s, FileName)
}

// TestSaveRepairs what somebody did to the file.
func TestSaveRepairs(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"removed":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 10) },
		"written to": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, time.Now(), time.Unix(1, 0)))
		},
		"readable":    func(path string) error { return os.Chmod(path, 0o644) },
		"a link away": func(path string) error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := saved(t, plan(2))
			if err := damage(s.Path()); err != nil {
				t.Fatal(err)
			}
			save(t, s, plan(2), true)
			wantLoads(t, s, plan(2))
		})
	}
}

// TestSaveAfterACrash: what a writer leaves that died before its rename, in any state, is never read and goes with the next one.
func TestSaveAfterACrash(t *testing.T) {
	whole, err := Encode(plan(3))
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for name, leave := range map[string]func(temp string) error{
		"nothing yet":  func(temp string) error { return os.WriteFile(temp, nil, 0o600) },
		"a half":       func(temp string) error { return os.WriteFile(temp, whole[:len(whole)/2], 0o600) },
		"all":          func(temp string) error { return os.WriteFile(temp, whole, 0o600) },
		"no rights":    func(temp string) error { return os.WriteFile(temp, whole, 0) },
		"a link":       func(temp string) error { return os.Symlink(outside, temp) },
		"a named pipe": func(temp string) error { return unix.Mkfifo(temp, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s := saved(t, plan(2))
			if err := leave(filepath.Join(s.dir, TempName)); err != nil {
				t.Fatal(err)
			}
			wantLoads(t, New(s.dir), plan(2))
			save(t, s, plan(4), true)
			wantLoads(t, New(s.dir), plan(4))
			wantFiles(t, s, FileName)
			if _, err := os.Lstat(outside); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the link was followed: %v", err)
			}
		})
	}
}

// TestLoadRefuses what is not this node's own file. It stays as it is.
func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(path string) error
		want   string
	}{
		{"readable by others", func(path string) error { return os.Chmod(path, 0o644) }, "has mode 0644, want 0600"},
		{"not writable", func(path string) error { return os.Chmod(path, 0o400) }, "has mode 0400, want 0600"},
		{"a link", func(path string) error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) }, "symbolic link"},
		{"a folder", func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o600)) }, "want a regular file"},
		{"a named pipe", func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) }, "want a regular file"},
		{"too large", func(path string) error { return os.Truncate(path, MaxSize+1) }, "more than the"},
		{"torn", func(path string) error { return os.Truncate(path, 300) }, "torn or corrupt"},
		{"somebody else's", func(path string) error { return os.Chown(path, 65534, -1) }, "owned by uid 65534"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := saved(t, plan(2))
			err := c.change(s.Path())
			if errors.Is(err, fs.ErrPermission) {
				t.Skip("only root may give a file away:", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load("n0", keyOf("n0")); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.Path()) {
				t.Errorf("%v, want an error with the path and %q", err, c.want)
			}
			if _, err := os.Lstat(s.Path()); err != nil {
				t.Errorf("it is gone: %v", err)
			}
		})
	}
}

func TestLoadOfAnother(t *testing.T) {
	s := saved(t, plan(2))
	if _, err := s.Load("n1", keyOf("n0")); err == nil || !strings.Contains(err.Error(), "of node n0, and this is n1") {
		t.Errorf("another node: %v", err)
	}
	if _, err := s.Load("n0", keyOf("n1")); err == nil || !strings.Contains(err.Error(), "of public key "+keyOf("n0").String()) {
		t.Errorf("another key: %v", err)
	}
	if _, err := New(t.TempDir()).Load("n0", keyOf("n0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want %v", err, fs.ErrNotExist)
	}
}

// TestSaveWithoutRoom: on a full disk, and on one that cannot be written to, the old plan stays, whole; with room again the new one
// is written.
func TestSaveWithoutRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a tmpfs in a mount namespace of its own needs root")
	}
	dir := t.TempDir()
	inMountNamespace(t, func() error {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
			return fmt.Errorf("mounting a tmpfs: %w", err)
		}
		s := New(dir)
		if _, err := s.Save(plan(2)); err != nil {
			return err
		}
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("filling the disk: %w", err)
		}
		if err := refused(s, unix.ENOSPC); err != nil {
			return fmt.Errorf("a full disk: %w", err)
		}
		if err := os.Remove(ballast); err != nil {
			return err
		}
		remount := func(flags uintptr) error { return unix.Mount("", dir, "", unix.MS_REMOUNT|flags, "") }
		if err := remount(unix.MS_RDONLY); err != nil {
			return fmt.Errorf("remounting read-only: %w", err)
		}
		if err := refused(s, unix.EROFS); err != nil {
			return fmt.Errorf("a read-only disk: %w", err)
		}
		if err := remount(0); err != nil {
			return fmt.Errorf("remounting: %w", err)
		}
		if written, err := s.Save(plan(40)); err != nil || !written {
			return fmt.Errorf("with room again: written %v, %w", written, err)
		}
		got, err := New(dir).Load("n0", keyOf("n0"))
		if err == nil && len(got.Lanes[0].Peers) != 40 {
			err = fmt.Errorf("%d peers, want 40", len(got.Lanes[0].Peers))
		}
		return err
	})
}

// refused wants a large plan not to be written, and the small one left.
func refused(s *Store, want error) error {
	if written, err := s.Save(plan(40)); written || !errors.Is(err, want) {
		return fmt.Errorf("written %v, %w; want %w", written, err, want)
	}
	got, err := New(s.dir).Load("n0", keyOf("n0"))
	if err != nil {
		return err
	}
	if len(got.Lanes[0].Peers) != 2 {
		return fmt.Errorf("%d peers, want the 2 of before", len(got.Lanes[0].Peers))
	}
	if _, err := os.Lstat(filepath.Join(s.dir, TempName)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a temporary file is left: %w", err)
	}
	return nil
}
