package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// check refuses an open file that is not of the wanted type and mode, or not the effective user's. It asks the open file and not
// its path, so that what was checked is what is used.
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

// openError says what O_NOFOLLOW means.
func openError(what, path string, err error) error {
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%s %s is a symbolic link, want the thing itself", what, path)
	}
	return fmt.Errorf("opening %s: %w", what, err)
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
