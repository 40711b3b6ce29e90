package wg

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

func TestForeignLink(t *testing.T) {
	for name, add := range map[string][]string{
		"bridge":                   {"ip", "link", "add", "laneforeign", "type", "bridge"},
		"tun":                      {"ip", "tuntap", "add", "laneforeign", "mode", "tun"},
		"bridge that says it's us": {"sh", "-c", "ip link add laneforeign type bridge && ip link set laneforeign alias " + mesh.LaneAlias},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "foreign", Options{})
			n.run(add...)
			before := n.run("ip", "-details", "link", "show", "laneforeign")
			err := n.set(n.lane(testPeer(1)), SetOptions{Prune: true})
			var foreign *ForeignError
			if !errors.As(err, &foreign) || !strings.Contains(err.Error(), "link laneforeign is not Warren's") {
				t.Errorf("error %v, want a ForeignError", err)
			}
			if err := n.device.Check("laneforeign"); !errors.As(err, &foreign) {
				t.Errorf("Check: %v, want a ForeignError", err)
			}
			if after := n.run("ip", "-details", "link", "show", "laneforeign"); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			n.run("ip", "link", "del", "laneforeign")
		})
	}
}

func TestDeletedLinkIsMadeAnew(t *testing.T) { everyMode(t, testDeletedLinkIsMadeAnew) }

func testDeletedLinkIsMadeAnew(t *testing.T, mode Mode) {
	a, b := pair(t, mode, "192.168.5.1/24", "192.168.5.2/24")
	a.run("ip", "link", "del", a.iface())
	a.mustSet(a.lane(b.peer("192.168.5.2:51820", "10.244.2.0/24")))
	a.up("10.244.1.1/32", "10.244.2.0/24")
	// b speaks first, and has a session with the device that is gone: it gives that up only where a's new device speaks to it.
	eventually(t, "traffic", 6*time.Second, func() bool { return b.ping("10.244.1.1") })
}

func TestRemove(t *testing.T) {
	n := newNode(t, "gone", Options{})
	n.run("ip", "link", "add", "theirs", "type", "bridge")
	before := n.run("ip", "link")
	n.mustSet(n.lane(testPeer(1)))
	stale := newNode(t, "stale", Options{})
	stale.mustSet(stale.lane())
	stale.signal(unix.SIGKILL)
	stale.run("ip", "link", "del", stale.iface())
	n.in(func() {
		removed, err := Remove(stale.iface())
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{n.iface()}, removed); diff != "" {
			t.Error(diff)
		}
		if again, err := Remove(); err != nil || len(again) != 0 {
			t.Errorf("the second time: %v, %v", again, err)
		}
	})
	if after := n.run("ip", "link"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	for _, name := range []string{n.iface(), stale.iface()} {
		if out, err := n.try("ls", tunnel.SocketPath(name)); err == nil {
			t.Errorf("still there: %s", out)
		}
	}
}
