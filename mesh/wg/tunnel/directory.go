package tunnel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// directoryMark is a file in SocketDirectory that says that we made the directory: any WireGuard program may have, and may have
// its sockets in it. Programs look for names that end in .sock only.
const directoryMark = SocketDirectory + "/.warren"

// makeDirectory makes SocketDirectory where it is missing.
func makeDirectory() error {
	if err := os.MkdirAll(filepath.Dir(SocketDirectory), 0o755); err != nil { // #nosec G301 -- /var/run is everybody's
		return fmt.Errorf("creating the parent of the UAPI socket directory: %w", err)
	}
	err := os.Mkdir(SocketDirectory, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(directoryMark, nil, 0o600)
	}
	if err != nil {
		return fmt.Errorf("creating UAPI socket directory: %w", err)
	}
	return nil
}

// RemoveDirectory removes SocketDirectory if a tunnel process made it and nothing is left in it.
func RemoveDirectory() error {
	err := os.Remove(directoryMark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(SocketDirectory)
	}
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) { // somebody else's socket, or a mount point
		return fmt.Errorf("removing UAPI socket directory: %w", err)
	}
	return nil
}
