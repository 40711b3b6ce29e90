package wg

import (
	"net/netip"
	"testing"
	"time"
)

func TestRoamedEndpointIsKept(t *testing.T) { everyMode(t, testRoamedEndpointIsKept) }

func testRoamedEndpointIsKept(t *testing.T, mode Mode) {
	a, b := pair(t, mode, "192.168.5.1/24", "192.168.5.2/24")
	claim := b.peer("192.168.5.2:51820", "10.244.2.0/24")
	roamed := netip.MustParseAddrPort("192.168.5.7:51820")
	b.run("ip", "address", "del", "192.168.5.2/24", "dev", "under0")
	b.run("ip", "address", "add", "192.168.5.7/24", "dev", "under0")
	if err := b.device.Nudge(); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, "a sends to b's new address", 3*time.Second, func() bool { return a.status(b.key.Public()).Endpoint == roamed })
	t.Logf("roamed after %s", took)
	if err := b.device.Settle(); err != nil {
		t.Fatal(err)
	}
	if got := b.status(a.key.Public()).Keepalive; got != 0 {
		t.Errorf("keepalive after the nudge is %s, want off", got)
	}
	a.mustSet(a.lane(claim))
	a.device.Forget()
	a.mustSet(a.lane(claim))
	if got := a.status(b.key.Public()).Endpoint; got != roamed {
		t.Errorf("after audits the endpoint is %s, want %s", got, roamed)
	}
	a.open(Options{}) // an agent that starts anew
	a.mustSet(a.lane(claim))
	if got := a.status(b.key.Public()).Endpoint; got != roamed {
		t.Errorf("after adoption the endpoint is %s, want %s", got, roamed)
	}
	more := b.peer("192.168.5.2:51820", "10.244.2.0/24", "10.244.20.0/24")
	a.mustSet(a.lane(more))
	if got := a.status(b.key.Public()).Endpoint; got != roamed {
		t.Errorf("after another change of the peer the endpoint is %s, want %s", got, roamed)
	}
	a.mustSet(a.lane(b.peer("192.168.5.9:51820", "10.244.2.0/24")))
	if got, want := a.status(b.key.Public()).Endpoint, netip.MustParseAddrPort("192.168.5.9:51820"); got != want {
		t.Errorf("after another claim the endpoint is %s, want %s", got, want)
	}
}

func TestAddressChange(t *testing.T) { everyMode(t, testAddressChange) }

func testAddressChange(t *testing.T, mode Mode) {
	for name, addresses := range underlays {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, mode, addresses[0], addresses[1])
			b.run("ip", "address", "del", addresses[1], "dev", "under0")
			b.run("ip", "address", "add", addresses[2], "dev", "under0", "nodad")
			if err := b.device.Nudge(a.key.Public()); err != nil {
				t.Fatal(err)
			}
			took := eventually(t, "traffic from a to b", 3*time.Second, func() bool { return a.ping("10.244.2.1") })
			t.Logf("traffic after %s", took)
			if err := b.device.Settle(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestNudgeKeepsOwnKeepalive(t *testing.T) { everyMode(t, testNudgeKeepsOwnKeepalive) }

func testNudgeKeepsOwnKeepalive(t *testing.T, mode Mode) {
	n := newNode(t, "nudge", Options{Mode: mode})
	silent, kept, plain := testPeer(1), testPeer(2), testPeer(3)
	silent.Endpoint = netip.AddrPort{}
	kept.Keepalive = 25 * time.Second
	lane := n.lane(silent, kept, plain)
	n.mustSet(lane)
	keepalives := func() [3]time.Duration {
		return [3]time.Duration{
			n.status(silent.PublicKey).Keepalive, n.status(kept.PublicKey).Keepalive, n.status(plain.PublicKey).Keepalive,
		}
	}
	own, nudged := [3]time.Duration{0, 25 * time.Second, 0}, [3]time.Duration{0, time.Second, time.Second}
	for range 2 { // also while it is on already
		if err := n.device.Nudge(); err != nil {
			t.Fatal(err)
		}
		if got := keepalives(); got != nudged {
			t.Errorf("nudged: %v, want %v", got, nudged)
		}
	}
	n.device.Forget()
	if sent := n.sent(func() { n.mustSet(lane) }); sent != 0 || keepalives() != nudged {
		t.Errorf("an audit meanwhile sent %d messages: %v, want %v", sent, keepalives(), nudged)
	}
	if err := n.device.Settle(); err != nil {
		t.Fatal(err)
	}
	if got := keepalives(); got != own {
		t.Errorf("settled: %v, want %v", got, own)
	}
	if sent := n.sent(func() { n.mustSet(lane) }); sent != 0 {
		t.Errorf("%d messages afterwards, want none", sent)
	}
}

func TestPeerWithoutEndpoint(t *testing.T) { everyMode(t, testPeerWithoutEndpoint) }

func testPeerWithoutEndpoint(t *testing.T, mode Mode) {
	a, b := newNode(t, "a", Options{Mode: mode}), newNode(t, "b", Options{Mode: mode})
	join(t, a, b)
	a.run("ip", "address", "add", "192.168.5.1/24", "dev", "under0")
	b.run("ip", "address", "add", "192.168.5.2/24", "dev", "under0")
	quiet := b.peer("", "10.244.2.0/24")
	a.mustSet(a.lane(quiet))
	b.mustSet(b.lane(a.peer("192.168.5.1:51820", "10.244.1.0/24")))
	a.up("10.244.1.1/32", "10.244.2.0/24")
	b.up("10.244.2.1/32", "10.244.1.0/24")
	if !b.ping("10.244.1.1") || !a.ping("10.244.2.1") {
		t.Error("no way through the tunnel")
	}
	if sent := a.sent(func() { a.device.Forget(); a.mustSet(a.lane(quiet)) }); sent != 0 {
		t.Errorf("%d messages, want none", sent)
	}
}
