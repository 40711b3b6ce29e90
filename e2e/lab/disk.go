package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	// smallDisk is the size of a disk that is full, in bytes; filler is the file that fills it.
	smallDisk = 1 << 20
	filler    = ".filler"
)

// FillState puts the node's state folder, with what it holds, on a small disk that is full to its last byte: what is there can
// be read and removed, and not a byte can be written.
func (n *Node) FillState() error {
	err := n.Inside(func() error {
		files, err := readFolder(stateDir)
		if err != nil {
			return err
		}
		options := fmt.Sprintf("mode=700,size=%d", smallDisk)
		if err := unix.Mount("tmpfs", stateDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return fmt.Errorf("mounting a small disk: %w", err)
		}
		return errors.Join(writeFolder(stateDir, files), fill(filepath.Join(stateDir, filler)))
	})
	if err != nil {
		return fmt.Errorf("filling the disk of %s: %w", n.Name, err)
	}
	return nil
}

// DrainState undoes FillState: there is room again, and what was written meanwhile is kept.
func (n *Node) DrainState() error {
	err := n.Inside(func() error {
		if err := os.Remove(filepath.Join(stateDir, filler)); err != nil {
			return err
		}
		files, err := readFolder(stateDir)
		if err != nil {
			return err
		}
		if err := unix.Unmount(stateDir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting the small disk: %w", err)
		}
		return writeFolder(stateDir, files)
	})
	if err != nil {
		return fmt.Errorf("draining the disk of %s: %w", n.Name, err)
	}
	return nil
}

// ProtectState makes the node's state folder read-only, as a disk with errors becomes, or writable again.
func (n *Node) ProtectState(readOnly bool) error {
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := n.Inside(func() error { return unix.Mount("", stateDir, "", flags, "") }); err != nil {
		return fmt.Errorf("remounting the state folder of %s: %w", n.Name, err)
	}
	return nil
}

// file is a regular file of the state folder, or a folder in it.
type file struct {
	mode    os.FileMode
	content []byte
}

// readFolder reads all that is below a folder, by path from there.
func readFolder(dir string) (map[string]file, error) {
	files := map[string]file{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			err = fmt.Errorf("%s is not a regular file", path)
		}
		if err != nil {
			return err
		}
		f := file{mode: info.Mode()}
		if info.Mode().IsRegular() {
			if f.content, err = os.ReadFile(path); err != nil { //nolint:gosec // what WalkDir found
				return err
			}
		}
		name, err := filepath.Rel(dir, path)
		files[name] = f
		return err
	})
	return files, err
}

func writeFolder(dir string, files map[string]file) error {
	for _, name := range slices.Sorted(maps.Keys(files)) { // folders before what is in them
		f, path := files[name], filepath.Join(dir, name)
		if f.mode.IsDir() {
			if err := os.MkdirAll(path, f.mode.Perm()); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(path, f.content, f.mode.Perm()); err != nil {
			return err
		}
		if err := os.Chmod(path, f.mode.Perm()); err != nil { // the umask had its say
			return err
		}
	}
	return nil
}

// fill writes until there is no room for a byte.
func fill(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // on a disk of our own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, 4096)
	for range smallDisk {
		_, err := f.Write(block)
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the small disk does not end")
}
