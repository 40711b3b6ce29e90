package checkpoint

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inMountNamespace runs f on a thread that has a mount namespace of its own and ends with it.
func inMountNamespace(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go onThread(f, done)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// onThread never unlocks its thread. The main thread cannot end, so it is held while another one does the work.
func onThread(f func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		inner := make(chan error, 1)
		go onThread(f, inner)
		done <- <-inner
		return
	}
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = f()
	}
	done <- err
}
