package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/warren-mesh/warren/internal/owned"
)

const (
	// FileName is the name of the key's file in its directory.
	FileName = "key"

	keyMode fs.FileMode = 0o600
	dirMode fs.FileMode = 0o700

	tempPrefix = "." + FileName + "-"
	tempSuffix = ".tmp"
)

// LoadOrCreate returns the key at <dir>/key, and makes it where there is none (created is true then). The directory is created
// with mode 0700, an empty one of mode 0755 gets it, and the file is created with 0600; both must be the effective user's own, have these modes and not be reached by a symbolic
// link in their last component. A file that holds no key is an error, and is never replaced. Of several callers at once, in
// one process or in many, one creates the key and all return the same.
func LoadOrCreate(dir string) (key PrivateKey, created bool, err error) {
	err = locked(dir, func(held *os.File) (err error) {
		key, err = load(filepath.Join(held.Name(), FileName))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		key, created = NewPrivateKey(), true
		// Not rename, which would replace what another process may have put there without our lock.
		return save(held, key, os.Link)
	})
	if err != nil {
		return PrivateKey{}, false, err
	}
	return key, created, nil
}

// Prepare makes the directory ready for the agent's files as LoadOrCreate does, without a key.
func Prepare(dir string) error {
	return locked(dir, func(*os.File) error { return nil })
}

// Replace makes a new key in the place of the one whose public key another node has. It returns the one that is there where that is
// another already. The old one is lost.
func Replace(dir string, taken PublicKey) (key PrivateKey, err error) {
	err = locked(dir, func(held *os.File) (err error) {
		key, err = load(filepath.Join(held.Name(), FileName))
		if err != nil || key.Public() != taken {
			return err
		}
		key = NewPrivateKey()
		return save(held, key, os.Rename)
	})
	if err != nil {
		return PrivateKey{}, err
	}
	return key, nil
}

// locked calls f with the directory, opened, checked and locked.
func locked(dir string, f func(held *os.File) error) (err error) {
	dir = filepath.Clean(dir) // a trailing slash would follow a link
	held, err := openDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }() // which also unlocks it
	if err := lock(held); err != nil {
		return fmt.Errorf("locking state directory %s: %w", dir, err)
	}
	if err := collect(dir); err != nil {
		return err
	}
	return f(held)
}

// openDir opens the directory, created if need be, and refuses one that others may write to.
func openDir(dir string) (*os.File, error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := createDir(dir); err != nil {
			return nil, err
		}
	}
	if err := claimDir(dir); err != nil {
		return nil, err
	}
	return owned.Open("state directory", dir, fs.ModeDir|dirMode)
}

// claimDir closes a directory to others in which nothing is yet and nobody else could put anything: a kubelet makes one for a mount, 0755.
func claimDir(dir string) error {
	made, err := owned.Open("state directory", dir, fs.ModeDir|0o755)
	if err != nil {
		return nil // It is as it should be, or owned.Open will say what is wrong.
	}
	defer func() { _ = made.Close() }() // it was only read
	if _, err := made.Readdirnames(1); !errors.Is(err, io.EOF) {
		return err // nil where it holds something
	}
	if err := made.Chmod(dirMode); err != nil {
		return fmt.Errorf("closing state directory %s to others: %w", dir, err)
	}
	return nil
}

func createDir(dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("creating state directory: %w", err)
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("opening the parent of state directory %s: %w", dir, err)
	}
	if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
		return fmt.Errorf("syncing the parent of state directory %s: %w", dir, err)
	}
	return nil
}

// load reads the key file. Its error is fs.ErrNotExist only where there is no file of that name.
func load(path string) (PrivateKey, error) {
	file, err := owned.Open("key file", path, keyMode)
	if err != nil {
		return PrivateKey{}, err
	}
	defer func() { _ = file.Close() }() // it was only read
	// A little more than a key is, so that a longer file is seen as one.
	text, err := io.ReadAll(io.LimitReader(file, 2*KeySize))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("reading key file: %w", err)
	}
	key, err := ParsePrivateKey(text)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("key file %s is corrupt: %w, as `wg genkey` writes it; it is left as it is: "+
			"restore it, or move it away to have a new key made", path, err)
	}
	return key, nil
}

// save writes the key under a temporary name and puts it under its own by os.Link, which fails where the name is taken, or os.Rename.
func save(dir *os.File, key PrivateKey, put func(from, to string) error) (err error) {
	temp, err := os.CreateTemp(dir.Name(), tempPrefix+"*"+tempSuffix) // mode 0600
	if err != nil {
		return fmt.Errorf("creating key file: %w", err)
	}
	defer func() {
		if rerr := os.Remove(temp.Name()); !errors.Is(rerr, fs.ErrNotExist) { // renamed
			err = errors.Join(err, rerr)
		}
	}()
	secret := key.Bytes()
	_, werr := temp.WriteString(base64.StdEncoding.EncodeToString(secret[:]) + "\n")
	// CreateTemp's mode is less where the umask says so.
	if err := errors.Join(werr, temp.Chmod(keyMode), temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	if err := put(temp.Name(), filepath.Join(dir.Name(), FileName)); err != nil {
		return fmt.Errorf("creating key file: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("syncing state directory %s: %w", dir.Name(), err)
	}
	return nil
}

// collect removes the temporary files of processes that died while they wrote one. The lock is held, so no living one has any.
func collect(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading state directory: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.Type().IsRegular() || !strings.HasPrefix(name, tempPrefix) || !strings.HasSuffix(name, tempSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("removing leftover temporary file: %w", err)
		}
	}
	return nil
}

// lock takes the directory's exclusive lock (flock(2)), which ends with the process at the latest.
func lock(dir *os.File) error {
	for {
		if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
