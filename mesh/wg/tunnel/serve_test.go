package tunnel

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/mesh/wg/internal/isolated"
)

// serve serves until the test ends, or until it is stopped.
func serve(t *testing.T) (path string, stop func()) {
	t.Helper()
	isolated.Need(t)
	path = filepath.Join(t.TempDir(), "tunnel.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, &bytes.Buffer{}) }()
	stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			done <- nil // for whoever stops it again
		case <-time.After(5 * time.Second):
			t.Error("it does not end")
		}
	}
	t.Cleanup(stop)
	return path, stop
}

// TestServe: who asked may go, and the device stays; asked anew it is made anew; it ends with who serves, and its link does not.
func TestServe(t *testing.T) {
	path, stop := serve(t)
	for range 2 {
		if err := Ask(path, "lane0"); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", SocketPath("lane0"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if err := Ask(path, "lane0"); err == nil || !strings.Contains(err.Error(), "another process has it") {
			t.Errorf("a device that runs: got %v", err)
		}
		ip(t, "link", "delete", "lane0")
		soonGone(t, SocketPath("lane0"))
	}
	if err := Ask(path, "lane1"); err != nil {
		t.Fatal(err)
	}
	stop()
	gone(t, SocketPath("lane1"))
	ip(t, "link", "delete", "lane1")
}

func soonGone(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	t.Errorf("%s is still there", path)
}

func TestAskInVain(t *testing.T) {
	path, stop := serve(t)
	for name, want := range map[string]string{"": "interface name", "a/b": "interface name", "lo": "not Warren's", strings.Repeat("x", 40): "answer"} {
		if err := Ask(path, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to say %q", name, err, want)
		}
	}
	stop()
	if err := Ask(path, "lane0"); err == nil || !strings.Contains(err.Error(), "warren-tunnel") {
		t.Errorf("nobody serves: got %v", err)
	}
	if err := Ask(path+".not", "lane0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: got %v", err)
	}
}
