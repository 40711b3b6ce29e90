package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh/wg/internal/isolated"
)

func TestMain(m *testing.M) { os.Exit(isolated.Main(m)) }

// running is a device in this process: the whole of it is in the namespace.
type running struct {
	stop context.CancelFunc
	done chan error
	log  *bytes.Buffer // to be read after done
}

// start runs a device and waits until its socket answers.
func start(t *testing.T, name string) *running {
	t.Helper()
	isolated.Need(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stop: cancel, done: make(chan error, 1), log: &bytes.Buffer{}}
	go func() { r.done <- Run(ctx, Options{Interface: name, Log: r.log}) }()
	for deadline := time.After(5 * time.Second); ; {
		if conn, err := net.Dial("unix", SocketPath(name)); err == nil {
			_ = conn.Close()
			break
		}
		select {
		case err := <-r.done:
			t.Fatalf("it ended: %v", err)
		case <-deadline:
			t.Fatal("its socket does not answer")
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Cleanup(func() {
		cancel()
		_ = exec.Command("ip", "link", "del", name).Run()
	})
	return r
}

// end waits for the device to end.
func (r *running) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it did not end")
	}
}

func ip(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", words...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}

// hasMode waits: the socket is restricted after it is made, from 0700.
func hasMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm() == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not of mode %v: %v, %v", path, want, info, err)
		}
	}
}

func TestLinkOutlivesTheProcess(t *testing.T) {
	first := start(t, "lane0")
	for path, want := range map[string]os.FileMode{SocketDirectory + "/": 0o700, SocketPath("lane0"): 0o600} {
		hasMode(t, path, want)
	}
	ip(t, "link", "set", "lane0", "mtu", "1380", "up")
	ip(t, "address", "add", "10.244.1.1/32", "dev", "lane0")
	ip(t, "route", "add", "10.244.2.0/24", "dev", "lane0")
	first.stop()
	first.end(t)
	gone(t, SocketPath("lane0"))
	if first.log.Len() > 0 {
		t.Errorf("it logged: %s", first.log)
	}
	check := func(when string) {
		t.Helper()
		got := ip(t, "-details", "address", "show", "lane0") + ip(t, "route", "show", "dev", "lane0")
		for _, word := range []string{"alias warren.dev/lane", "persist on", "mtu 1380", "10.244.1.1/32", "10.244.2.0/24"} {
			if !strings.Contains(got, word) {
				t.Errorf("%s the link has no %q: %s", when, word, got)
			}
		}
	}
	check("without a process")
	second := start(t, "lane0")
	check("with the second process")
	second.stop()
	second.end(t)
}

func TestEndsWithItsLink(t *testing.T) {
	r := start(t, "lane0")
	ip(t, "link", "set", "lane0", "up")
	ip(t, "link", "del", "lane0")
	r.end(t)
	gone(t, SocketPath("lane0"))
}

// TestDirectory: it goes with us only where we made it, and never with somebody's socket in it.
func TestDirectory(t *testing.T) {
	isolated.Need(t)
	if err := os.RemoveAll(SocketDirectory); err != nil {
		t.Fatal(err)
	}
	theirs := SocketPath("theirs")
	for _, test := range []struct {
		name         string
		before, with string // made before the device, and while it runs
		stays        bool
	}{
		{name: "ours"},
		{name: "there before", before: SocketDirectory, stays: true},
		{name: "used by somebody", with: theirs, stays: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.before != "" {
				if err := os.Mkdir(test.before, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			r := start(t, "lane0")
			if test.with != "" {
				if err := os.WriteFile(test.with, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r.stop()
			r.end(t)
			if err := RemoveDirectory(); err != nil {
				t.Error(err)
			}
			gone(t, directoryMark)
			if _, err := os.Stat(SocketDirectory); (err == nil) != test.stays {
				t.Errorf("the directory: %v, want it there: %v", err, test.stays)
			}
			if err := os.RemoveAll(SocketDirectory); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestEndsWithItsSocket(t *testing.T) {
	r := start(t, "lane0")
	if err := os.Remove(SocketPath("lane0")); err != nil {
		t.Fatal(err)
	}
	r.end(t)
}

func TestRefused(t *testing.T) {
	r := start(t, "lane0")
	ip(t, "tuntap", "add", "theirs", "mode", "tun")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "theirs").Run() })
	listener, err := net.Listen("unix", SocketPath("busy"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	for name, want := range map[string]string{
		"lane0":            "another process has it",
		"theirs":           `link theirs is not Warren's: its alias is "", want "warren.dev/lane"`,
		"lo":               "link lo is not Warren's",
		"busy":             "opening UAPI socket /var/run/wireguard/busy.sock: unix socket in use",
		"":                 "want 1 to 15 characters",
		"../../etc":        "is not one",
		"..":               "is not one",
		"a b":              "is not one",
		"sixteen-letters-": "is not one",
	} {
		before := ip(t, "-details", "link")
		err := Run(t.Context(), Options{Interface: name, Log: &bytes.Buffer{}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", name, err, want)
		}
		if after := ip(t, "-details", "link"); after != before {
			t.Errorf("%q: before:\n%s\nafter:\n%s", name, before, after)
		}
	}
	select {
	case err := <-r.done:
		t.Errorf("the first one ended: %v", err)
	default:
	}
}

func TestStaleSocketIsTakenOver(t *testing.T) {
	isolated.Need(t)
	if err := os.MkdirAll(SocketDirectory, 0o700); err != nil {
		t.Fatal(err)
	}
	// As a killed process leaves it.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: SocketPath("lane0")}), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	r := start(t, "lane0")
	r.stop()
	r.end(t)
}

func TestLogIsLimited(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	l := newLimited(&out, "lane0")
	l.now, l.filled = func() time.Time { return now }, now
	lines := func() int { return strings.Count(out.String(), "\n") }
	for i := range 10 * logBurst {
		l.errorf("peer %d: %v", i, errors.New("no route to host"))
	}
	if lines() != logBurst {
		t.Errorf("%d lines at once, want %d", lines(), logBurst)
	}
	now = now.Add(logEvery)
	l.errorf("later")
	l.errorf("at the same time")
	last := strings.Split(strings.TrimSpace(out.String()), "\n")[logBurst:]
	if len(last) != 1 || !strings.Contains(last[0], fmt.Sprintf(`"interface":"lane0","skipped":%d`, 9*logBurst)) {
		t.Errorf("the last lines are %q, want one that says what was skipped", last)
	}
	now = now.Add(time.Hour)
	out.Reset()
	for range 10 * logBurst {
		l.errorf("again")
	}
	if lines() != logBurst {
		t.Errorf("%d lines at once after an hour, want %d", lines(), logBurst)
	}
}

func TestLogFileBeginsAnew(t *testing.T) {
	file, err := os.OpenFile(t.TempDir()+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(logSize + 1); err != nil {
		t.Fatal(err)
	}
	newLimited(file, "lane0").errorf("the first line")
	text, err := os.ReadFile(file.Name())
	if err != nil || !strings.HasPrefix(string(text), "{") || strings.Count(string(text), "\n") != 1 {
		t.Errorf("the file has %d bytes, want one line (%v)", len(text), err)
	}
}
