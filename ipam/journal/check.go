package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// check refuses a file that somebody else may have written.
func check(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch uid := os.Geteuid(); {
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is not a regular file (%s)", info.Mode())
	case !ok:
		return errors.New("the system does not say who owns it")
	case int(stat.Uid) != uid:
		return fmt.Errorf("it is owned by uid %d, want uid %d", stat.Uid, uid)
	case info.Mode().Perm() != fileMode:
		return fmt.Errorf("it has mode %#o, want %#o", info.Mode().Perm(), fileMode)
	case info.Size() > MaxSize:
		return fmt.Errorf("it has %d bytes, more than the %d that are read", info.Size(), MaxSize)
	}
	return nil
}
