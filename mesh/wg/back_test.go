package wg

import (
	"testing"
	"time"
)

func TestPeerComesBack(t *testing.T) { everyMode(t, testPeerComesBack) }

// testPeerComesBack: a peer that was removed, and has heard nothing of it, goes on sending. Only if it is called does what it sends get
// through before it has waited for its own 15 s.
func testPeerComesBack(t *testing.T, mode Mode) {
	for name, remove := range map[string]func(a, b *node){
		"removed by the plan": func(a, _ *node) { a.mustSet(a.lane()) },
		"removed by somebody else": func(a, b *node) {
			a.run("wg", "set", a.iface(), "peer", b.key.Public().String(), "remove")
			a.device.Forget()
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, mode, "192.168.5.1/24", "192.168.5.2/24")
			peer := b.peer("192.168.5.2:51820", "10.244.2.0/24")
			if !b.ping("10.244.1.1") {
				t.Fatal("no way through the tunnel")
			}
			remove(a, b)
			if b.ping("10.244.1.1") {
				t.Fatal("the peer that was removed gets through")
			}
			a.mustSet(a.lane(peer))
			took := eventually(t, "traffic from b to a", 5*time.Second, func() bool { return b.ping("10.244.1.1") })
			t.Logf("traffic after %s", took)
			if got := a.status(b.key.Public()).Keepalive; got != 0 {
				t.Errorf("keepalive after the call is %s, want off", got)
			}
			if sent := a.sent(func() { a.device.Forget(); a.mustSet(a.lane(peer)) }); sent != 0 {
				t.Errorf("%d messages afterwards, want none", sent)
			}
		})
	}
}
