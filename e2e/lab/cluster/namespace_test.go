package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that one locked thread holds. Functions given to it run on that thread.
type namespace struct {
	work  chan func()
	ended chan struct{}
}

// newNamespace makes one with the loopback interface up and the given addresses on it.
func newNamespace(t *testing.T, addresses ...string) *namespace {
	t.Helper()
	n := &namespace{work: make(chan func()), ended: make(chan struct{})}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and its namespace end with the goroutine
		ready <- enterNew(addresses)
		for {
			select {
			case f := <-n.work:
				f()
			case <-n.ended:
				return
			}
		}
	}()
	if err := <-ready; err != nil {
		close(n.ended)
		t.Fatalf("making a network namespace: %v", err)
	}
	t.Cleanup(func() { close(n.ended) })
	return n
}

func enterNew(addresses []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, address := range addresses {
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, parsed); err != nil {
			return fmt.Errorf("adding %s: %w", address, err)
		}
	}
	return nil
}

// errEnded answers who still asks after the test, as a client's connection pool may.
var errEnded = errors.New("the test's network namespace is gone")

func (n *namespace) do(f func() error) (err error) {
	done := make(chan struct{})
	select {
	case n.work <- func() { defer close(done); err = f() }:
		<-done
		return err
	case <-n.ended:
		return errEnded
	}
}

// start is a [Starter]. The kernel kills what it started when the thread ends, however the test ends.
func (n *namespace) start(cmd *exec.Cmd) error {
	return n.do(func() error {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		return cmd.Start()
	})
}

// dial is a [Dialer].
func (n *namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
