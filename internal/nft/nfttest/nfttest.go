// Package nfttest is what the tests of nftables tables share: network namespaces of their own, commands in them, and tables as nft lists them.
package nfttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Isolate gives the test a network namespace of its own, in which nothing is up. It ends with the test's thread.
func Isolate(tb testing.TB) {
	tb.Helper()
	if unix.Geteuid() != 0 {
		tb.Skip("needs root: it makes network namespaces")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Fatalf("making a network namespace: %v", err)
	}
}

// Try runs a shell command in the test's namespace.
func Try(command string) (string, error) {
	out, err := exec.CommandContext(context.Background(), "timeout", "20", "sh", "-ec", command).CombinedOutput() //nolint:gosec // a test's own
	return string(out), err
}

// Run is Try, of what has to succeed.
func Run(tb testing.TB, command string, args ...any) string {
	tb.Helper()
	command = fmt.Sprintf(command, args...)
	out, err := Try(command)
	if err != nil {
		tb.Fatalf("%s\n%v\n%s", command, err, out)
	}
	return out
}

// Golden compares with a file. WARREN_UPDATE=1 writes the file.
func Golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("WARREN_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // a test's own
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}
