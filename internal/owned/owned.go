// Package owned opens what is the agent's alone: what somebody else may have put there, written or read is refused.
package owned

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Open opens a file or folder for reading that is of the wanted type and mode, the effective user's own, and not reached by a symbolic
// link in its last component. what is how errors call it. The open file is asked and not its path, so that what was checked is what is
// used. The error is fs.ErrNotExist only where there is nothing of that name.
func Open(what, path string, want fs.FileMode) (*os.File, error) {
	// Without O_DIRECTORY, so that a file in a folder's place is told from a link; a pipe is not waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // checked below
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s %s is a symbolic link, want the thing itself", what, path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", what, err)
	}
	if err := check(what, path, file, want); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Read reads a regular file of that mode, which has at most so many bytes.
func Read(what, path string, mode fs.FileMode, most int64) ([]byte, fs.FileInfo, error) {
	file, err := Open(what, path, mode)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("examining %s: %w", what, err)
	}
	size := info.Size()
	var content []byte
	if size <= most {
		content, err = io.ReadAll(io.LimitReader(file, most+1))
		size = max(size, int64(len(content))) // it may be growing
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", what, err)
	}
	if size > most {
		return nil, nil, fmt.Errorf("%s %s has %d bytes, more than the %d that are read", what, path, size, most)
	}
	return content, info, nil
}

func check(what, path string, file *os.File, want fs.FileMode) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("examining %s: %w", what, err)
	}
	if info.Mode().Type() != want.Type() {
		return fmt.Errorf("%s %s is a %s, want a %s", what, path, typeName(info.Mode()), typeName(want))
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("examining %s %s: the system does not say who owns it", what, path)
	}
	if uid := os.Geteuid(); int(stat.Uid) != uid {
		return fmt.Errorf("%s %s is owned by uid %d, want uid %d: chown %d %s", what, path, stat.Uid, uid, uid, path)
	}
	if got := info.Mode().Perm(); got != want.Perm() {
		return fmt.Errorf("%s %s has mode %#o, want %#o: chmod %#o %s", what, path, got, want.Perm(), want.Perm(), path)
	}
	return nil
}

func typeName(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "regular file"
	case mode.IsDir():
		return "directory"
	default:
		return "special file (" + mode.Type().String() + ")"
	}
}
