// Package sysctl writes the network's sysctls, from within a container too.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// host is where a container has the host's /proc/sys/net, as host + "/proc/sys/net": its own /proc/sys is read-only, and runtimes refuse
// a mount inside /proc. Of which network namespace a file there is depends on who opens it, as everywhere in /proc/sys/net.
const host = "/host"

// Write sets the sysctl of that file below /proc/sys/net, of the calling thread's network namespace. What is not there is not created. It
// takes plain system calls only, since that is most of what making a pod's wire costs.
func Write(path, value string) error {
	err := write(path, value)
	if !errors.Is(err, unix.EROFS) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	switch other := write(host+path, value); {
	case errors.Is(other, fs.ErrNotExist):
		return fmt.Errorf("%w (where warrend runs in a container, the host's /proc/sys/net has to be mounted at %s/proc/sys/net)", err, host)
	default:
		return other
	}
}

func write(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	_, err = unix.Write(fd, []byte(value))
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}
