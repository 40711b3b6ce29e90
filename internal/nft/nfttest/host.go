package nfttest

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Host is another machine: a network namespace with a process in it that keeps it.
type Host struct {
	T *testing.T
	// PID is a process or a thread in the namespace.
	PID int
}

// NewHost makes one, of which the loopback is up, after the setup, which is a shell command.
func NewHost(t *testing.T, setup string) *Host {
	t.Helper()
	keeper := exec.CommandContext(context.WithoutCancel(t.Context()), "sleep", "infinity") // It stays for the cleanups.
	keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = keeper.Process.Kill()
		_ = keeper.Wait() // It was killed, and says so.
	})
	h := &Host{T: t, PID: keeper.Process.Pid}
	h.Run("%s", "ip link set lo up; "+setup)
	return h
}

// Try runs a shell command in the host's namespace.
func (h *Host) Try(command string) (string, error) {
	return Try(fmt.Sprintf("nsenter -t %d -n sh -ec '%s'", h.PID, command))
}

// Run is Try, of what has to succeed.
func (h *Host) Run(command string, args ...any) string {
	h.T.Helper()
	command = fmt.Sprintf(command, args...)
	out, err := h.Try(command)
	if err != nil {
		h.T.Fatalf("%s\n%v\n%s", command, err, out)
	}
	return out
}

// Within calls f on a thread in the host's namespace and waits for it.
func (h *Host) Within(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // And never unlocked: the thread ends with the goroutine.
		done <- func() error {
			fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", h.PID), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}
