package wg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// pair is two nodes with a tunnel between them over IPv4 or IPv6.

func pair(t *testing.T, mode Mode, addressA, addressB string) (a, b *node) {
	t.Helper()
	a, b = newNode(t, "a", Options{Mode: mode}), newNode(t, "b", Options{Mode: mode})
	join(t, a, b)
	a.run("ip", "address", "add", addressA, "dev", "under0", "nodad")
	b.run("ip", "address", "add", addressB, "dev", "under0", "nodad")
	a.mustSet(a.lane(b.peer(endpoint(addressB), "10.244.2.0/24")))
	b.mustSet(b.lane(a.peer(endpoint(addressA), "10.244.1.0/24")))
	a.up("10.244.1.1/32", "10.244.2.0/24")
	b.up("10.244.2.1/32", "10.244.1.0/24")
	if !a.ping("10.244.2.1") {
		t.Fatalf("no way through the tunnel\n%s", a.run("wg", "show"))
	}
	return a, b
}

func endpoint(address string) string {
	return netip.AddrPortFrom(netip.MustParsePrefix(address).Addr(), 51820).String()
}

var underlays = map[string][4]string{
	"IPv4 underlay": {"192.168.5.1/24", "192.168.5.2/24", "192.168.5.3/24", "192.168.5.4/24"},
	"IPv6 underlay": {"fd00:5::1/64", "fd00:5::2/64", "fd00:5::3/64", "fd00:5::4/64"},
}

func TestTunnel(t *testing.T) { everyMode(t, testTunnel) }

func testTunnel(t *testing.T, mode Mode) {
	for name, addresses := range underlays {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, mode, addresses[0], addresses[1])
			lane := a.lane(b.peer(endpoint(addresses[1]), "10.244.2.0/24"))
			if sent := a.sent(func() { a.mustSet(lane) }); sent != 0 {
				t.Errorf("the same lane again sent %d messages, want none", sent)
			}
			a.device.Forget()
			if sent := a.sent(func() { a.mustSet(lane) }); sent != 0 {
				t.Errorf("an audit of a device that is right sent %d messages, want none", sent)
			}
			peer := a.status(b.key.Public())
			if peer.LastHandshake.IsZero() || peer.ReceiveBytes == 0 || peer.TransmitBytes == 0 {
				t.Errorf("status %+v, want a handshake and bytes", peer)
			}
			peer.LastHandshake, peer.ReceiveBytes, peer.TransmitBytes = time.Time{}, 0, 0
			want := PeerStatus{
				PublicKey: b.key.Public(), Endpoint: netip.MustParseAddrPort(endpoint(addresses[1])),
				AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")},
			}
			if diff := cmp.Diff(want, peer, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
				cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			big := []string{"ping", "-c1", "-W1", "-M", "do", "-s", "3000", "10.244.2.1"}
			if out, err := a.try(big...); err == nil {
				t.Errorf("3,000 bytes pass a link of 1,420: %s", out)
			}
			a.run("ip", "link", "set", a.iface(), "mtu", "4000")
			b.run("ip", "link", "set", b.iface(), "mtu", "4000")
			a.run(big...)
			a.run("ip", "link", "set", a.iface(), "mtu", "1420")
			link := a.run("ip", "-details", "link", "show", a.iface())
			words := map[Mode][]string{Userspace: {"tun type tun", "persist on"}, Kernel: {"wireguard"}}[mode]
			for _, word := range append(words, "alias warren.dev/lane", "mtu 1420") {
				if !strings.Contains(link, word) {
					t.Errorf("the link has no %q: %s", word, link)
				}
			}
		})
	}
}

// TestShowconf reads back through the real wg what a lane became, after each of some changes.

func TestShowconf(t *testing.T) { everyMode(t, testShowconf) }

func testShowconf(t *testing.T, mode Mode) {
	n := newNode(t, "golden", Options{Mode: mode})
	n1, n2, n3 := testPeer(1), testPeer(2), testPeer(3)
	names := map[string]string{n.key.Public().String(): "SELF"}
	for i, peer := range []*mesh.Peer{n1, n2, n3} {
		names[peer.PublicKey.String()] = []string{"N1", "N2", "N3"}[i]
	}
	show := func() string {
		text := n.run("wg", "show", n.iface())
		for key, name := range names {
			text = strings.ReplaceAll(text, key, name)
		}
		var lines []string
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "private key") {
				lines = append(lines, line)
			}
		}
		// wg orders peers by handshake, and these have none.
		blocks := strings.Split(strings.Join(lines, "\n"), "\npeer: ")
		slices.Sort(blocks[1:])
		return strings.Join(blocks, "\npeer: ")
	}
	head := "interface: lanegolden\npublic key: SELF\nlistening port: 51820"
	moved := testPeer(2)
	moved.AllowedIPs = append(prefixList("10.244.1.0/24"), n2.AllowedIPs...)
	emptied := testPeer(1)
	emptied.AllowedIPs = prefixList("10.244.101.0/24")
	rekeyed := testPeer(3)
	rekeyed.PublicKey = identity.PublicKey{99}
	names[rekeyed.PublicKey.String()] = "N3b"
	kept := testPeer(3)
	kept.Keepalive = 25 * time.Second
	for _, step := range []struct {
		name     string
		lane     mesh.Lane
		messages int
		want     string
	}{
		{"three peers", n.lane(n1, n2, n3), 3, head +
			"\npeer: N1\nendpoint: 192.168.5.1:51820\nallowed ips: 10.244.1.0/24, fd00:244:1::/64" +
			"\npeer: N2\nendpoint: 192.168.5.2:51820\nallowed ips: 10.244.2.0/24, fd00:244:2::/64" +
			"\npeer: N3\nendpoint: 192.168.5.3:51820\nallowed ips: 10.244.3.0/24, fd00:244:3::/64"},
		{"a prefix moves from one to another", n.lane(emptied, moved, n3), 1, head +
			"\npeer: N1\nendpoint: 192.168.5.1:51820\nallowed ips: 10.244.101.0/24" +
			"\npeer: N2\nendpoint: 192.168.5.2:51820\nallowed ips: 10.244.2.0/24, fd00:244:2::/64, 10.244.1.0/24" +
			"\npeer: N3\nendpoint: 192.168.5.3:51820\nallowed ips: 10.244.3.0/24, fd00:244:3::/64"},
		{"and back", n.lane(n1, n2, n3), 1, head +
			"\npeer: N1\nendpoint: 192.168.5.1:51820\nallowed ips: 10.244.1.0/24, fd00:244:1::/64" +
			"\npeer: N2\nendpoint: 192.168.5.2:51820\nallowed ips: 10.244.2.0/24, fd00:244:2::/64" +
			"\npeer: N3\nendpoint: 192.168.5.3:51820\nallowed ips: 10.244.3.0/24, fd00:244:3::/64"},
		{"a node's key changes", n.lane(n1, n2, rekeyed), 1, head +
			"\npeer: N1\nendpoint: 192.168.5.1:51820\nallowed ips: 10.244.1.0/24, fd00:244:1::/64" +
			"\npeer: N2\nendpoint: 192.168.5.2:51820\nallowed ips: 10.244.2.0/24, fd00:244:2::/64" +
			"\npeer: N3b\nendpoint: 192.168.5.3:51820\nallowed ips: 10.244.3.0/24, fd00:244:3::/64"},
		{"keepalive on, and a node less", n.lane(n2, kept), 1, head +
			"\npeer: N2\nendpoint: 192.168.5.2:51820\nallowed ips: 10.244.2.0/24, fd00:244:2::/64" +
			"\npeer: N3\nendpoint: 192.168.5.3:51820\nallowed ips: 10.244.3.0/24, fd00:244:3::/64\npersistent keepalive: every 25 seconds"},
		{"nobody", n.lane(), 1, head},
	} {
		if sent := n.sent(func() { n.mustSet(step.lane) }); sent != step.messages {
			t.Errorf("%s: %d messages, want %d", step.name, sent, step.messages)
		}
		if diff := cmp.Diff(order(step.want), order(show())); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
	lane := n.lane(n1)
	lane.ListenPort = 51999
	n.mustSet(lane)
	if got := show(); !strings.Contains(got, "listening port: 51999") {
		t.Errorf("the port was not changed: %s", got)
	}
}

func TestOnePeerAmongThousand(t *testing.T) { everyMode(t, testOnePeerAmongThousand) }

func testOnePeerAmongThousand(t *testing.T, mode Mode) {
	n := newNode(t, "many", Options{Mode: mode})
	var peers []*mesh.Peer
	for i := range 1000 {
		peers = append(peers, testPeer(i+1))
	}
	if sent := n.sent(func() { n.mustSet(n.lane(peers...)) }); sent != 2+4 {
		t.Errorf("1,000 peers took %d messages, want 2 for the device and 4 of up to %d peers", sent, chunkSize)
	}
	for _, step := range []struct {
		name  string
		peers []*mesh.Peer
	}{
		{"one more", append(peers[:1000:1000], testPeer(1001))},
		{"one less", peers},
		{"another endpoint", func() []*mesh.Peer {
			changed, other := slices.Clone(peers), *peers[500]
			other.Endpoint = netip.MustParseAddrPort("192.168.77.1:51820")
			changed[500] = &other
			return changed
		}()},
	} {
		start := time.Now()
		if sent := n.sent(func() { n.mustSet(n.lane(step.peers...)) }); sent != 1 {
			t.Errorf("%s: %d messages, want 1", step.name, sent)
		}
		t.Logf("%s: %s", step.name, time.Since(start))
	}
	if peers, err := n.device.Peers(); err != nil || len(peers) != 1000 {
		t.Errorf("%d peers, want 1000 (%v)", len(peers), err)
	}
}

func TestNothingIsRemovedWithoutPrune(t *testing.T) { everyMode(t, testNothingIsRemovedWithoutPrune) }

func testNothingIsRemovedWithoutPrune(t *testing.T, mode Mode) {
	n := newNode(t, "keep", Options{Mode: mode})
	n.mustSet(n.lane(testPeer(1), testPeer(2)))
	less := testPeer(1)
	less.AllowedIPs = prefixList("10.250.0.0/24")
	if err := n.set(n.lane(less), SetOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := n.status(testPeer(1).PublicKey).AllowedIPs; len(got) != 3 {
		t.Errorf("allowed IPs %v, want the old and the new", got)
	}
	n.status(testPeer(2).PublicKey)
	n.mustSet(n.lane(less))
	if diff := cmp.Diff("[10.250.0.0/24]", fmt.Sprint(n.status(testPeer(1).PublicKey).AllowedIPs)); diff != "" {
		t.Error(diff)
	}
	if peers, err := n.device.Peers(); err != nil || len(peers) != 1 {
		t.Errorf("%d peers, want 1 (%v)", len(peers), err)
	}
}

func TestAuditRepairs(t *testing.T) { everyMode(t, testAuditRepairs) }

func testAuditRepairs(t *testing.T, mode Mode) {
	n := newNode(t, "audit", Options{Mode: mode})
	lane := n.lane(testPeer(1), testPeer(2))
	n.mustSet(lane)
	n.device.Audit()
	want := n.run("wg", "showconf", n.iface())
	n.run("wg", "set", n.iface(), "listen-port", "4444",
		"peer", testPeer(1).PublicKey.String(), "allowed-ips", "10.9.9.0/24", "preshared-key", "/dev/stdin", "persistent-keepalive", "7",
		"peer", testPeer(2).PublicKey.String(), "remove")
	n.run("wg", "set", n.iface(), "private-key", keyFile(t), "peer", testPeer(3).PublicKey.String(), "allowed-ips", "10.244.2.0/24")
	if sent := n.sent(func() { n.mustSet(lane) }); sent != 0 {
		t.Errorf("%d messages, want none: it was not told to look", sent)
	}
	if !n.device.Audit() {
		t.Error("an audit finds nothing")
	}
	n.mustSet(lane)
	if n.device.Audit() {
		t.Error("an audit finds something after all was put right")
	}
	if diff := cmp.Diff(order(want), order(n.run("wg", "showconf", n.iface()))); diff != "" {
		t.Error("the device is not as before (the diff is not shown: it has keys)")
	}
}

func TestAuditSeesEachChange(t *testing.T) { everyMode(t, testAuditSeesEachChange) }

func testAuditSeesEachChange(t *testing.T, mode Mode) {
	n := newNode(t, "each", Options{Mode: mode})
	lane := n.lane(testPeer(1), testPeer(2))
	n.mustSet(lane)
	peer := testPeer(1).PublicKey.String()
	for _, theirs := range [][]string{
		{"listen-port", "4444"},
		{"private-key", keyFile(t)},
		{"peer", peer, "allowed-ips", "10.9.9.0/24"},
		{"peer", peer, "allowed-ips", "10.244.2.0/24"}, // of the other peer
		{"peer", peer, "preshared-key", keyFile(t)},
		{"peer", peer, "persistent-keepalive", "7"},
		{"peer", peer, "remove"},
		{"peer", testPeer(3).PublicKey.String(), "allowed-ips", "10.9.9.0/24"},
	} {
		for range 3 {
			if n.device.Audit() {
				t.Fatalf("before `wg set %s` an audit finds something", strings.Join(theirs, " "))
			}
		}
		n.run(append([]string{"wg", "set", n.iface()}, theirs...)...)
		if !n.device.Audit() {
			t.Errorf("an audit after `wg set %s` finds nothing", strings.Join(theirs, " "))
		}
		n.mustSet(lane)
	}
}

// TestAuditKeepsARoamedEndpoint is of a device that holds what it held but for an endpoint: the next Set must know where the peer is.
func TestAuditKeepsARoamedEndpoint(t *testing.T) { everyMode(t, testAuditKeepsARoamedEndpoint) }

func testAuditKeepsARoamedEndpoint(t *testing.T, mode Mode) {
	n := newNode(t, "roamed", Options{Mode: mode})
	lane := n.lane(testPeer(1))
	n.mustSet(lane)
	n.device.Audit()
	n.run("wg", "set", n.iface(), "peer", testPeer(1).PublicKey.String(), "endpoint", "192.0.2.77:7777")
	if n.device.Audit() {
		t.Error("an endpoint that moved is taken for a change")
	}
	if sent := n.sent(func() { n.mustSet(lane) }); sent != 0 {
		t.Errorf("%d messages, want none: the claim is what it was", sent)
	}
	moved := testPeer(1)
	moved.Endpoint = netip.MustParseAddrPort("192.0.2.77:7777")
	if sent := n.sent(func() { n.mustSet(n.lane(moved)) }); sent != 0 {
		t.Errorf("%d messages, want none: the peer is where it claims to be", sent)
	}
}

// TestRoamedEndpointIsKept moves b to another address while its claim stays.

// TestAddressChange is the sticky source: b's socket remembers the address that its packets left from.

// TestTunnelProcess kills and stops the process: link, addresses and routes stay, and traffic goes on after the next Set.

// TestPeerWithoutEndpoint is called first, and then knows where to answer.

// TestForeignSocket is the device of another network namespace that shares our mount namespace.

func TestWrongKey(t *testing.T) {
	n := newNode(t, "key", Options{})
	lane := n.lane()
	lane.PublicKey = testPeer(1).PublicKey
	if err := n.set(lane, SetOptions{}); err == nil || !strings.Contains(err.Error(), "the node's key is "+n.key.Public().String()) {
		t.Errorf("error %v, want one about the key", err)
	}
}

// TestKernel runs the kernel's device where there is one, and the error where there is none.

// TestAutoKeepsWhatIsThere adopts a userspace device with its process.

// TestStoppedProcess is a process that listens and does not answer.
