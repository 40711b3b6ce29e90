package wg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

func TestTunnelProcess(t *testing.T) {
	for name, signal := range map[string]unix.Signal{"killed": unix.SIGKILL, "terminated": unix.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, Userspace, "192.168.5.1/24", "192.168.5.2/24")
			a.run("ip", "link", "set", a.iface(), "mtu", "1380")
			kernel := func() string {
				text := a.run("ip", "address", "show", a.iface()) + a.run("ip", "route", "show", "dev", a.iface())
				return strings.ReplaceAll(text, "state UNKNOWN", "state UP") // a carrier that came back is known
			}
			before := kernel()
			a.signal(signal)
			// The carrier goes with the process, and the rest stays.
			for _, word := range []string{"10.244.1.1/32", "10.244.2.0/24", "mtu 1380"} {
				if !strings.Contains(kernel(), word) {
					t.Errorf("without its process the link lost %s: %s", word, kernel())
				}
			}
			if a.ping("10.244.2.1") {
				t.Error("something answers without a tunnel process")
			}
			lane := a.lane(b.peer("192.168.5.2:51820", "10.244.2.0/24"))
			a.mustSet(lane)
			// b speaks first: it must have heard of a's new session without a's having anything to say.
			took := eventually(t, "traffic from b to a", 4*time.Second, func() bool { return b.ping("10.244.1.1") })
			t.Logf("traffic after %s", took)
			if took > 2*time.Second {
				t.Errorf("traffic from b came after %s, want at once", took)
			}
			if diff := cmp.Diff(before, kernel()); diff != "" {
				t.Error(diff)
			}
			if got := a.status(b.key.Public()).Keepalive; got != 0 {
				t.Errorf("keepalive is %s, want off", got)
			}
		})
	}
}

func TestForeignSocket(t *testing.T) {
	first, second := newNode(t, "same", Options{}), newNode(t, "same", Options{})
	first.mustSet(first.lane(testPeer(1)))
	want := first.run("wg", "showconf", first.iface())
	err := second.set(second.lane(testPeer(2)), SetOptions{Prune: true})
	if err == nil || !strings.Contains(err.Error(), "still listens on "+tunnel.SocketPath("lanesame")) {
		t.Errorf("error %v, want one about the socket", err)
	}
	if got := first.run("wg", "showconf", first.iface()); got != want {
		t.Error("the other device was changed")
	}
}

func TestPortInUse(t *testing.T) { everyMode(t, testPortInUse) }

func testPortInUse(t *testing.T, mode Mode) {
	n := newNode(t, "port", Options{Mode: mode})
	n.run("ip", "link", "add", "other", "type", "bridge")
	n.mustSet(n.lane())
	n.run("ip", "link", "set", n.iface(), "up")
	other := n.lane()
	other.Name = "laneother"
	eventually(t, "the port is taken", 2*time.Second, func() bool {
		return strings.Contains(n.run("ss", "-lun"), ":51820")
	})
	second := &node{t: t, name: "other", netns: n.netns, key: n.key, mode: mode}
	second.open(Options{})
	err := second.set(other, SetOptions{})
	if err == nil || !strings.Contains(err.Error(), "setting port 51820 of device laneother: another socket has the UDP port") {
		t.Errorf("error %v, want one about the port", err)
	}
}

func TestSpawnThatFails(t *testing.T) {
	n := newNode(t, "fail", Options{})
	// The longest name that our check lets through and the kernel does not.
	lane := n.lane()
	lane.Name = "sixteen-letters-"
	err := n.set(lane, SetOptions{})
	for _, want := range []string{"starting the tunnel process of sixteen-letters-: it ended", "interface name \\\"sixteen-letters-\\\" is not one"} {
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "\\", "")) {
			t.Errorf("error %v, want one with %s", err, want)
		}
	}
	if _, err := n.device.Peers(); !errors.Is(err, ErrNoDevice) {
		t.Errorf("error %v, want %v", err, ErrNoDevice)
	}
}

func TestStoppedProcess(t *testing.T) {
	n := newNode(t, "hung", Options{})
	n.mustSet(n.lane(testPeer(1)))
	pid := n.tunnelPID()
	stop(t, pid)
	n.device.client.timeout = 100 * time.Millisecond
	for _, want := range []string{"no answer within 100ms", errNoAnswer.Error()} {
		if err := n.set(n.lane(testPeer(1), testPeer(2)), SetOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	n.device.client.timeout = answerTimeout
	eventually(t, "the device answers", 5*time.Second, func() bool { return n.set(n.lane(testPeer(1), testPeer(2)), SetOptions{}) == nil })
	n.status(testPeer(2).PublicKey)
}

// stop stops a process and waits until it is: each of its threads goes on until it next meets the kernel.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process is stopped", 5*time.Second, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("threads of process %d: %v, %v", pid, threads, err)
		}
		return !slices.ContainsFunc(threads, func(thread string) bool {
			status, err := os.ReadFile(thread)
			return err != nil || !strings.Contains(string(status), "State:\tT")
		})
	})
}
