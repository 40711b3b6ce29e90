package wg

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRenew(t *testing.T) { everyMode(t, testRenew) }

// testRenew: a peer that is made anew has what it had, a roamed endpoint included, but for its session; and it is called.
func testRenew(t *testing.T, mode Mode) {
	a, b := pair(t, mode, "192.168.5.1/24", "192.168.5.2/24")
	peer, other := b.peer("192.168.5.2:51820", "10.244.2.0/24", "10.244.20.0/24"), testPeer(9)
	peer.Keepalive = 25 * time.Second
	a.mustSet(a.lane(peer, other))
	if !b.ping("10.244.1.1") {
		t.Fatal("no way through the tunnel")
	}
	time.Sleep(100 * time.Millisecond) // WireGuard drops a peer's second handshake within 50 ms, and there is no event to wait for
	before := a.status(peer.PublicKey)
	if before.LastHandshake.IsZero() {
		t.Fatal("there was no handshake")
	}
	if err := a.device.Renew(peer.PublicKey, testPeer(10).PublicKey); err != nil {
		t.Fatal(err)
	}
	after := a.status(peer.PublicKey)
	sessions := cmpopts.IgnoreFields(PeerStatus{}, "LastHandshake", "ReceiveBytes", "TransmitBytes")
	same := cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y })
	if diff := cmp.Diff(before, after, sessions, same, cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" {
		t.Errorf("anew it is another (-before +after):\n%s", diff)
	}
	if after.ReceiveBytes >= before.ReceiveBytes {
		t.Errorf("it still has what it had received: %d bytes", after.ReceiveBytes)
	}
	a.mustSet(a.lane(peer, other))
	took := eventually(t, "traffic from b to a", 5*time.Second, func() bool { return b.ping("10.244.1.1") })
	t.Logf("traffic after %s", took)
	if sent := a.sent(func() { a.device.Forget(); a.mustSet(a.lane(peer, other)) }); sent != 0 {
		t.Errorf("%d messages afterwards, want none", sent)
	}
}

// TestRenewNothing: before there is a device there are no peers.
func TestRenewNothing(t *testing.T) {
	n := newNode(t, "none", Options{Mode: Userspace})
	if err := n.device.Renew(testPeer(1).PublicKey); err != nil {
		t.Error(err)
	}
}
