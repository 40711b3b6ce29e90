package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tree is a copy of a mounted folder or file, to be put elsewhere. It is found by file descriptor: neither what is
// mounted over it later nor a /proc that does not know us matters.
type tree int

func copyTree(path string) (tree, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, fmt.Errorf("copying the mount of %s: %w", path, err)
	}
	return tree(fd), nil
}

// put mounts the copy at path and closes it.
func (t tree) put(path string) error {
	defer unix.Close(int(t))
	if err := unix.MoveMount(int(t), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting at %s: %w", path, err)
	}
	return nil
}

// bind shows the folder source at path too.
func bind(source, path string) error {
	t, err := copyTree(source)
	if err != nil {
		return err
	}
	return t.put(path)
}

func mountTmpfs(path string) error {
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", path, err)
	}
	return nil
}

// mountRun gives the mount namespace a /run of its own in which the lab's folder is still where it was.
func mountRun(labDir string) error {
	kept, err := copyTree(labDir)
	if err != nil {
		return err
	}
	if err := mountTmpfs("/run"); err != nil {
		return errors.Join(err, unix.Close(int(kept)))
	}
	if err := errors.Join(os.MkdirAll("/run/lock", 0o750), os.MkdirAll(labDir, 0o700)); err != nil {
		return errors.Join(err, unix.Close(int(kept)))
	}
	return kept.put(labDir)
}

// makeMountPoint makes a folder that the machine does not have exist inside the mount namespace: its parent becomes a
// tmpfs in which everything else is found as before. Nothing is written on the machine.
func makeMountPoint(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("reading %s: %w", parent, err)
	}
	copies := map[string]tree{}
	links := map[string]string{}
	for _, e := range entries {
		full := filepath.Join(parent, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			if links[full], err = os.Readlink(full); err != nil {
				return err
			}
			continue
		}
		if copies[full], err = copyTree(full); err != nil {
			return err
		}
	}
	if err := mountTmpfs(parent); err != nil {
		return err
	}
	for full, target := range links {
		if err := os.Symlink(target, full); err != nil {
			return err
		}
	}
	for _, e := range entries {
		full := filepath.Join(parent, e.Name())
		t, ok := copies[full]
		if !ok {
			continue
		}
		if err := errors.Join(touch(full, e.IsDir()), t.put(full)); err != nil {
			return err
		}
	}
	return os.Mkdir(path, 0o700)
}

// touch makes an empty folder or file to mount on.
func touch(path string, dir bool) error {
	if dir {
		return os.Mkdir(path, 0o700)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // in a tmpfs of our own
	if err != nil {
		return err
	}
	return f.Close()
}
