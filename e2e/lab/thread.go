package lab

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// errNoReturn is what a function on a thread of its own ends with that panics or calls runtime.Goexit, as t.FailNow does.
var errNoReturn = errors.New("the function did not return")

// onThread runs f on an OS thread that ends with it, so that f may move it to other namespaces.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go thread(f, done)
	return <-done
}

// thread locks a thread and never unlocks it: Go ends it then. The main thread cannot end, and /proc/self is about it,
// so it is left alone: while it is held here, another one does the work.
func thread(f func() error, done chan<- error) {
	err := errNoReturn
	defer func() { done <- err }()
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		inner := make(chan error, 1)
		go thread(f, inner)
		err = <-inner
		return
	}
	err = f()
}
