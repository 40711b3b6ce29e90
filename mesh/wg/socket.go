package wg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

const (
	// startTimeout is how long a tunnel process may take until it answers.
	startTimeout = 10 * time.Second
	// stopTimeout is how long it may take to end after its link is gone.
	stopTimeout = 5 * time.Second
	// pollInterval is how often its socket is tried meanwhile.
	pollInterval = 10 * time.Millisecond
)

// socket is one UAPI socket file; another process has another one. It is comparable; the zero value is no socket that answers.
type socket struct {
	inode uint64
	made  int64 // in nanoseconds since the epoch
}

// find is the interface's UAPI socket if a process listens on it.
func find(iface string) (socket, error) {
	path := tunnel.SocketPath(iface)
	conn, err := net.DialTimeout("unix", path, startTimeout) //nolint:noctx // no name to look up, and bounded
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return socket{}, nil
	}
	if err != nil {
		return socket{}, fmt.Errorf("reaching UAPI socket: %w", err)
	}
	_ = conn.Close() // nothing was said on it
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return socket{}, nil // it ended just now
	}
	if err != nil {
		return socket{}, fmt.Errorf("examining UAPI socket: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return socket{}, fmt.Errorf("examining UAPI socket %s: the system does not say its inode", path)
	}
	return socket{inode: stat.Ino, made: info.ModTime().UnixNano()}, nil
}

// waitAlive waits until a process answers on the interface's socket.
func waitAlive(iface string) (socket, error) {
	var found socket
	err := poll(startTimeout, func() (bool, error) {
		var err error
		found, err = find(iface)
		return found != socket{}, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return socket{}, fmt.Errorf("nothing answers on %s after %s", tunnel.SocketPath(iface), startTimeout)
	}
	return found, err
}

// waitDead waits until no process answers on the interface's socket.
func waitDead(iface string) error {
	err := poll(stopTimeout, func() (bool, error) {
		found, err := find(iface)
		return found == socket{}, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("a process without our link still listens on %s after %s: end it, or give the lane another name",
			tunnel.SocketPath(iface), stopTimeout)
	}
	return err
}

// poll calls done until it says true or fails, or the timeout is over: context.DeadlineExceeded.
func poll(timeout time.Duration, done func() (bool, error)) error {
	deadline := time.After(timeout)
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(pollInterval):
		case <-deadline:
			return context.DeadlineExceeded
		}
	}
}

// removeStale removes a socket file that nobody listens on any more.
func removeStale(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing stale UAPI socket: %w", err)
	}
	return nil
}
