package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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

// file is a regular file of the state folder, which has no folders in it.
type file struct {
	mode    os.FileMode
	content []byte
}

func readFolder(dir string) (map[string]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string]file{}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", e.Name())
		}
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name())) //nolint:gosec // what ReadDir found
		if err != nil {
			return nil, err
		}
		files[e.Name()] = file{info.Mode(), content}
	}
	return files, nil
}

func writeFolder(dir string, files map[string]file) error {
	for name, f := range files {
		path := filepath.Join(dir, name)
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
