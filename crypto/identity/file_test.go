package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestLoadOrCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, created, err := LoadOrCreate(dir)
	if err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	for path, want := range map[string]fs.FileMode{dir: dirMode, filepath.Join(dir, FileName): keyMode} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	for _, again := range []string{dir, dir + "/"} {
		second, created, err := LoadOrCreate(again)
		if err != nil || created {
			t.Fatalf("the second time: created %v, error %v", created, err)
		}
		if second.Bytes() != first.Bytes() {
			t.Error("the second time gave another key")
		}
	}
	if names := list(t, dir); names != FileName {
		t.Errorf("the directory holds %s, want the key alone", names)
	}
	text, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if wg, err := exec.LookPath("wg"); err == nil {
		pubkey := exec.CommandContext(t.Context(), wg, "pubkey")
		pubkey.Stdin = strings.NewReader(string(text))
		if out, err := pubkey.Output(); err != nil || strings.TrimSpace(string(out)) != first.Public().String() {
			t.Errorf("wg pubkey says %s, want %s (%v)", out, first.Public(), err)
		}
	}
}

// TestAFolderOfAKubelet: one that is empty is closed to others and used; what else is not as it should be is refused (TestRefused).
func TestAFolderOfAKubelet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, created, err := LoadOrCreate(dir); err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != dirMode {
		t.Errorf("mode %v, want %v (%v)", info.Mode(), dirMode, err)
	}
}

func TestUmaskDoesNotMatter(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o277)
	defer syscall.Umask(old)
	if err := os.Chmod(dir, dirMode); err != nil {
		t.Fatal(err)
	}
	if _, created, err := LoadOrCreate(dir); err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	if _, _, err := LoadOrCreate(dir); err != nil {
		t.Fatal(err)
	}
}

// TestRefused spoils a good directory in one way each, and wants a plain error and nothing changed.
func TestRefused(t *testing.T) {
	asRoot := func(t *testing.T) {
		t.Helper()
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file away")
		}
	}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir, key string)
		want  string // D and K stand for the paths
	}{
		"key is a link": {func(t *testing.T, dir, key string) {
			do(t, os.Rename(key, key+".real"))
			do(t, os.Symlink(key+".real", key))
		}, "key file K is a symbolic link"},
		"key is a dangling link": {func(t *testing.T, dir, key string) {
			do(t, os.Remove(key))
			do(t, os.Symlink(dir+"/nowhere", key))
		}, "key file K is a symbolic link"},
		"directory is a link": {func(t *testing.T, dir, key string) {
			do(t, os.Rename(dir, dir+".real"))
			do(t, os.Symlink(dir+".real", dir))
		}, "state directory D is a symbolic link"},
		"directory is a file": {func(t *testing.T, dir, key string) {
			do(t, os.RemoveAll(dir))
			do(t, os.WriteFile(dir, nil, 0o600))
		}, "state directory D is a regular file, want a directory"},
		"key is a directory": {func(t *testing.T, dir, key string) {
			do(t, os.Remove(key))
			do(t, os.Mkdir(key, 0o700))
		}, "key file K is a directory, want a regular file"},
		"key is a pipe": {func(t *testing.T, dir, key string) {
			do(t, os.Remove(key))
			do(t, syscall.Mkfifo(key, 0o600))
		}, "key file K is a special file (p---------), want a regular file"},
		"key readable by all": {func(t *testing.T, dir, key string) { do(t, os.Chmod(key, 0o644)) },
			"key file K has mode 0644, want 0600: chmod 0600 K"},
		"key readable by the group": {func(t *testing.T, dir, key string) { do(t, os.Chmod(key, 0o640)) }, "key file K has mode 0640"},
		"key read-only":             {func(t *testing.T, dir, key string) { do(t, os.Chmod(key, 0o400)) }, "key file K has mode 0400"},
		"directory listed by all": {func(t *testing.T, dir, key string) { do(t, os.Chmod(dir, 0o755)) },
			"state directory D has mode 0755, want 0700: chmod 0700 D"},
		"directory writable by all": {func(t *testing.T, dir, key string) { do(t, os.Chmod(dir, 0o777)) }, "state directory D has mode 0777"},
		"key of another user": {func(t *testing.T, dir, key string) {
			asRoot(t)
			do(t, os.Chown(key, 1234, 0))
		}, "key file K is owned by uid 1234, want uid 0: chown 0 K"},
		"directory of another user": {func(t *testing.T, dir, key string) {
			asRoot(t)
			do(t, os.Chown(dir, 1234, 0))
		}, "state directory D is owned by uid 1234, want uid 0: chown 0 D"},
		"empty": {func(t *testing.T, dir, key string) { do(t, os.Truncate(key, 0)) }, "key file K is corrupt: private key has 0 characters"},
		"truncated": {func(t *testing.T, dir, key string) { do(t, os.Truncate(key, 20)) },
			"key file K is corrupt: private key has 20 characters, want 44"},
		"too long": {func(t *testing.T, dir, key string) { write(t, key, strings.Repeat("A", 1<<20)) }, "key file K is corrupt: private key has"},
		"garbage": {func(t *testing.T, dir, key string) { write(t, key, strings.Repeat("\x00", 44)) },
			"key file K is corrupt: private key is not base64"},
		"zero": {func(t *testing.T, dir, key string) { write(t, key, strings.Repeat("A", 43)+"=\n") },
			"key file K is corrupt: private key is all zero"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			path := filepath.Join(dir, FileName)
			good, _, err := LoadOrCreate(dir)
			do(t, err)
			test.spoil(t, dir, path)
			before := snapshot(t, filepath.Dir(dir))
			key, created, err := LoadOrCreate(dir)
			want := strings.NewReplacer("D", dir, "K", path).Replace(test.want)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error %v, want one with %q", err, want)
			}
			if created || !key.IsZero() {
				t.Error("a key beside an error")
			}
			secret := good.Bytes()
			if strings.Contains(err.Error(), fmt.Sprintf("%x", secret[:4])) {
				t.Error("the error holds the key")
			}
			if after := snapshot(t, filepath.Dir(dir)); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func TestCorruptFileIsNotQuoted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, _, err := LoadOrCreate(dir)
	do(t, err)
	path := filepath.Join(dir, FileName)
	text, err := os.ReadFile(path)
	do(t, err)
	for cut := range len(text) - 1 {
		write(t, path, string(text[:cut]))
		_, _, err := LoadOrCreate(dir)
		if err == nil {
			t.Fatalf("%d bytes of a key are one", cut)
		}
		if cut >= 4 && strings.Contains(err.Error(), string(text[:4])) {
			t.Fatal("the error holds the beginning of the key")
		}
	}
}

func TestLeftoversAreCollected(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	do(t, os.Mkdir(dir, 0o700))
	write(t, filepath.Join(dir, ".key-123.tmp"), "half a k")
	write(t, filepath.Join(dir, "plan.json"), "somebody else's")
	first, created, err := LoadOrCreate(dir)
	if err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	// As after a crash between the link and the removal of the temporary name.
	do(t, os.Link(filepath.Join(dir, FileName), filepath.Join(dir, ".key-456.tmp")))
	second, _, err := LoadOrCreate(dir)
	do(t, err)
	if first.Bytes() != second.Bytes() {
		t.Error("another key")
	}
	if names := list(t, dir); names != "key plan.json" {
		t.Errorf("the directory holds %s, want key plan.json", names)
	}
}

func TestSaveNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, FileName), "what another process wrote")
	held, err := os.Open(dir)
	do(t, err)
	defer func() { _ = held.Close() }()
	if err := save(held, NewPrivateKey(), os.Link); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, FileName)); string(text) != "what another process wrote" {
		t.Error("it was replaced")
	}
	if names := list(t, dir); names != FileName {
		t.Errorf("the directory holds %s", names)
	}
}

func TestReplace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, _, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Replace(dir, first.Public())
	if err != nil || second.Public() == first.Public() {
		t.Fatalf("the key is the old one still, error %v", err)
	}
	// Who asks a second time, or for another key, gets what is there.
	for _, taken := range []PublicKey{first.Public(), {}} {
		if again, err := Replace(dir, taken); err != nil || again.Bytes() != second.Bytes() {
			t.Errorf("asked again it is another key, error %v", err)
		}
	}
	loaded, created, err := LoadOrCreate(dir)
	if err != nil || created || loaded.Bytes() != second.Bytes() {
		t.Errorf("created %v, error %v, or not the new key", created, err)
	}
	if names := list(t, dir); names != FileName {
		t.Errorf("the directory holds %s, want the key alone", names)
	}
}

func TestReplaceLeavesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := errors.Join(os.Chmod(dir, dirMode), os.WriteFile(path, []byte("corrupt"), keyMode)); err != nil {
		t.Fatal(err)
	}
	if _, err := Replace(dir, PublicKey{}); err == nil || !strings.Contains(err.Error(), "corrupt") {
		t.Errorf("error %v, want one that says so", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "corrupt" {
		t.Errorf("the file became %q, %v", text, err)
	}
}

func TestConcurrentCreation(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "state")
		const callers = 20
		var (
			group   sync.WaitGroup
			mu      sync.Mutex // guards what follows
			keys    = map[[KeySize]byte]int{}
			creates int
		)
		for range callers {
			group.Go(func() {
				key, created, err := LoadOrCreate(dir)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				keys[key.Bytes()]++
				if created {
					creates++
				}
			})
		}
		group.Wait()
		if len(keys) != 1 || creates != 1 {
			t.Fatalf("%d keys and %d creations, want one of each", len(keys), creates)
		}
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	do(t, os.WriteFile(path, []byte(text), 0o600))
}

func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	do(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return strings.Join(names, " ")
}

// snapshot is every file below dir with its mode, inode and content.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	do(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var text []byte
		if info.Mode().IsRegular() {
			if text, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		_, err = fmt.Fprintf(&out, "%s %v %d %d %q\n", path, info.Mode(), stat.Ino, stat.Uid, text)
		return err
	}))
	return out.String()
}
