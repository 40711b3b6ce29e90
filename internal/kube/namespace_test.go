package kube

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace that one locked thread holds. Functions given to it run on that thread.
type namespace struct{ work chan func() }

// newNamespace makes one whose loopback interface has the given address.
func newNamespace(t *testing.T, address string) *namespace {
	t.Helper()
	n := &namespace{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and its namespace end with the goroutine
		ready <- enterNew(address)
		for f := range n.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		close(n.work)
		t.Fatalf("making a network namespace: %v", err)
	}
	t.Cleanup(func() { close(n.work) })
	return n
}

func enterNew(address string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"address", "add", address, "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}

func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.work <- func() { defer close(done); f() }
	<-done
}

// start is a cluster.Starter. The kernel kills what it started when the thread ends, however the test ends.
func (n *namespace) start(cmd *exec.Cmd) (err error) {
	n.do(func() {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		err = cmd.Start()
	})
	return err
}

// dial is a cluster.Dialer.
func (n *namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	n.do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, address) })
	return conn, err
}
