// Package isolated runs a package's tests in network, mount and process namespaces of their own, so that nothing of them, neither
// link nor socket nor process, is left when they end in whatever way. It is for TestMain.
package isolated

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is set in the environment of the process that has the namespaces.
const inside = "WARREN_TEST_ISOLATED"

// Main runs the tests and returns their exit code. Without root it runs them as they are: those that need it must call Need.
func Main(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run()
	}
	if os.Getenv(inside) == "" {
		return again()
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "preparing namespaces:", err)
		return 1
	}
	return m.Run()
}

// Need skips a test that needs the namespaces where there are none.
func Need(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces and links")
	}
}

// again runs this same test binary in new namespaces, as their first process: the kernel kills the others with it.
func again() int {
	// Pdeathsig is about the thread.
	runtime.LockOSThread()
	command := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // ourselves; Pdeathsig ends it
	command.Args[0] = os.Args[0]
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(), inside+"=1")
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	err := command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "isolating the tests:", err)
		return 1
	}
	return 0
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	// /var/run is a link to it, and so the UAPI sockets are here.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	return nil
}
