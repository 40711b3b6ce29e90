package podnet

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Sandbox is a pod's network namespace, open.
type Sandbox struct{ file *os.File }

// ErrNetNS says that a path is not that of a pod's network namespace.
var ErrNetNS = errors.New("opening network namespace")

// OpenSandbox opens the network namespace at a path. It refuses the caller's own (ErrNetNS): whoever attaches a pod that uses the host's network would
// cut off the host.
func OpenSandbox(path string) (*Sandbox, error) {
	// To open a pipe or a device may have effects, or never end.
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNetNS, err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w %s: not a network namespace", ErrNetNS, path)
	}
	file, err := os.Open(path) // #nosec G304 -- the path is the runtime's
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNetNS, err)
	}
	if err := check(file); err != nil {
		return nil, errors.Join(fmt.Errorf("%w %s: %w", ErrNetNS, path, err), file.Close())
	}
	return &Sandbox{file}, nil
}

// Close lets go of it. The pod keeps it.
func (n *Sandbox) Close() { _ = n.file.Close() }

func check(file *os.File) error {
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return errors.New("not a network namespace")
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	own, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	if os.SameFile(info, own) {
		return errors.New("it is the host's own")
	}
	return nil
}

func (n *Sandbox) fd() int { return int(n.file.Fd()) }

// do calls f on a thread in the namespace. The thread comes back before do returns, or it is never used again.
func (n *Sandbox) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		restored, err := n.onThread(f)
		if restored {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// onThread says whether the thread is where it was before.
func (n *Sandbox) onThread(f func() error) (restored bool, err error) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return true, fmt.Errorf("opening current network namespace: %w", err)
	}
	defer func() { _ = own.Close() }()
	if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
		return true, fmt.Errorf("entering network namespace: %w", err)
	}
	err = f()
	return unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil, err
}
