package lab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// namespaces are a place to run in. The open files keep them alive.
type namespaces struct {
	pid, net, mnt, uts *os.File
}

// kinds are the files of /proc/PID/ns in the order in which they are entered: a mount namespace changes what paths mean.
var kinds = []string{"pid", "net", "uts", "mnt"}

func (n *namespaces) file(kind string) **os.File {
	switch kind {
	case "pid":
		return &n.pid
	case "net":
		return &n.net
	case "uts":
		return &n.uts
	}
	return &n.mnt
}

// openNamespaces opens those that paths names by kind.
func openNamespaces(paths map[string]string) (*namespaces, error) {
	n := &namespaces{}
	for _, kind := range kinds {
		f, err := os.Open(paths[kind])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening a %s namespace: %w", kind, err), n.Close())
		}
		*n.file(kind) = f
	}
	return n, nil
}

// namespacesOf opens those of a process.
func namespacesOf(pid int) (*namespaces, error) {
	paths := map[string]string{}
	for _, kind := range kinds {
		paths[kind] = fmt.Sprintf("/proc/%d/ns/%s", pid, kind)
	}
	return openNamespaces(paths)
}

// derive makes a network, a mount and a UTS namespace out of n, in its PID namespace, and runs setup inside them.
func (n *namespaces) derive(setup func() error) (*namespaces, error) {
	derived := &namespaces{}
	err := onThread(func() error {
		// /proc means something else once the thread is inside; its own folder stays what it is.
		own, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns", unix.Gettid()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening the thread's namespaces: %w", err)
		}
		defer unix.Close(own)
		if err := n.enter("net", "uts", "mnt"); err != nil {
			return err
		}
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("making namespaces: %w", err)
		}
		for _, kind := range []string{"net", "uts", "mnt"} {
			fd, err := unix.Openat(own, kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("opening the new %s namespace: %w", kind, err)
			}
			*derived.file(kind) = os.NewFile(uintptr(fd), kind)
		}
		if derived.pid, err = duplicate(n.pid); err != nil {
			return err
		}
		return setup()
	})
	if err != nil {
		return nil, errors.Join(err, derived.Close())
	}
	return derived, nil
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicating a file descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// enter moves the calling thread, which must be one of onThread's, into the namespaces of these kinds. A PID namespace
// is entered by its children only.
func (n *namespaces) enter(which ...string) error {
	// A thread that shares its root and working folder with others may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unsharing the thread's root: %w", err)
	}
	for _, kind := range which {
		f := *n.file(kind)
		if f == nil {
			return fmt.Errorf("entering a %s namespace: %w", kind, os.ErrClosed)
		}
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("entering a %s namespace: %w", kind, err)
		}
	}
	return nil
}

// inodes are the numbers by which the kernel tells the namespaces: "net:[4026532281]". The PID namespace is the lab's.
func (n *namespaces) inodes() ([]string, error) {
	var names []string
	for _, kind := range kinds {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", (*n.file(kind)).Fd()))
		if err != nil {
			return nil, fmt.Errorf("naming a %s namespace: %w", kind, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// Close lets them go. What runs in them goes on.
func (n *namespaces) Close() error {
	var errs []error
	for _, kind := range kinds {
		if f := n.file(kind); *f != nil {
			errs = append(errs, (*f).Close())
			*f = nil
		}
	}
	return errors.Join(errs...)
}
