package guard

import (
	"net"
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/mesh"
)

// dual is a guard of the lab's node for both families.
func dual() mesh.Guard {
	return mesh.Guard{
		Lanes:   []string{"warren0"},
		Cluster: prefixes("10.244.0.0/16", "fd00:244::/56"),
		Own:     prefixes("10.244.1.0/24", "fd00:244:0:1::/64"),
		Mesh:    []netip.Addr{netip.MustParseAddr("10.244.1.1"), netip.MustParseAddr("fd00:244:0:1::1")},
	}
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestDropped sends what the guard has to stop: first without it, to see that the packet would arrive, then with it.
func TestDropped(t *testing.T) { //nolint:tparallel // its cases are enough at once for one machine
	outside := map[string]string{"ip": "192.0.2.1", "ip6": "2001:db8:ffff::1"}
	noLane := func(t *testing.T, l *lab) { run(t, "ip route del %s dev warren0", l.peers) }
	atLAN := func(l *lab) int { return l.lan.seen("pods") }
	cases := []struct {
		name    string
		prepare func(*testing.T, *lab)
		send    func(*lab)
		// arrived counts at the place where the packet must not come.
		arrived func(*lab) int
		counter func(Counters) Counter
	}{
		{
			name:    "pod under another pod's address",
			prepare: func(_ *testing.T, l *lab) { l.pod.Run("ip addr add %s6/%d dev eth0", l.side.pod, l.bits) },
			send:    func(l *lab) { _, _ = l.pod.Try(l.ping(l.side.peer, l.side.pod+"6")) },
			arrived: func(l *lab) int { return l.peer.seen("probes") },
			counter: func(c Counters) Counter { return c.PodSpoof },
		},
		{
			name:    "pod under the mesh address",
			prepare: func(_ *testing.T, l *lab) { l.pod.Run("ip addr add %s/%d dev eth0", l.mesh, l.bits) },
			send:    func(l *lab) { _, _ = l.pod.Try(l.ping(l.side.peer, l.mesh)) },
			arrived: func(l *lab) int { return l.peer.seen("probes") },
			counter: func(c Counters) Counter { return c.PodSpoof },
		},
		{
			name:    "peer under an address of this node",
			prepare: func(_ *testing.T, l *lab) { l.peer.Run("ip addr add %s6/%d dev eth0", l.side.pod, l.bits) },
			send:    func(l *lab) { _, _ = l.peer.Try(l.ping(l.side.pod, l.side.pod+"6")) },
			arrived: func(l *lab) int { return l.pod.seen("probes") },
			counter: func(c Counters) Counter { return c.Spoofed },
		},
		{
			name:    "peer under an address of no pod",
			prepare: func(_ *testing.T, l *lab) { l.peer.Run("ip addr add %s/%d dev eth0", outside[l.family], l.bits) },
			send:    func(l *lab) { _, _ = l.peer.Try(l.ping(l.side.pod, outside[l.family])) },
			arrived: func(l *lab) int { return l.pod.seen("probes") },
			counter: func(c Counters) Counter { return c.Spoofed },
		},
		{
			name:    "peer through this node to the world",
			send:    func(l *lab) { _, _ = l.peer.Try(l.ping(l.world, l.side.peer)) },
			arrived: func(l *lab) int { return l.lan.seen("probes") },
			counter: func(c Counters) Counter { return c.Transit },
		},
		{
			name:    "peer through this node to its neighbours",
			send:    func(l *lab) { _, _ = l.peer.Try(l.ping(l.side.lan, l.side.peer)) },
			arrived: func(l *lab) int { return l.lan.seen("probes") },
			counter: func(c Counters) Counter { return c.Transit },
		},
		{
			name: "peer to this node's own address",
			prepare: func(t *testing.T, l *lab) {
				run(t, `nft 'table inet tap { counter probes { }; chain in { type filter hook input priority 0; ip daddr %s counter name probes; }; }'`, sides["IPv4"].node)
				run(t, `nft 'add rule inet tap in ip6 daddr %s counter name probes'`, sides["IPv6"].node)
			},
			send:    func(l *lab) { _, _ = l.peer.Try(l.ping(l.node, l.side.peer)) },
			arrived: func(l *lab) int { return count(l.pod.T, run(l.pod.T, "nft list counter inet tap probes")) },
			counter: func(c Counters) Counter { return c.Transit },
		},
		{
			name:    "peer through this node by a DNAT",
			prepare: func(t *testing.T, l *lab) { l.dnat(t, l.mesh, l.side.lan) },
			send:    func(l *lab) { _, _ = l.peer.Try(l.ping(l.mesh, l.side.peer)) },
			arrived: func(l *lab) int { return l.lan.seen("probes") },
			counter: func(c Counters) Counter { return c.Transit },
		},
		{
			name:    "pod's address from the underlay",
			prepare: func(_ *testing.T, l *lab) { l.lan.Run("ip addr add %s/%d dev lo", l.side.peer, l.bits) },
			send:    func(l *lab) { _, _ = l.lan.Try(l.ping(l.side.pod, l.side.peer)) },
			arrived: func(l *lab) int { return l.pod.seen("probes") },
			counter: func(c Counters) Counter { return c.Foreign },
		},
		{
			name:    "forwarded in clear",
			prepare: noLane,
			send:    func(l *lab) { _, _ = l.pod.Try(l.ping(l.side.peer, "")) },
			arrived: atLAN,
			counter: func(c Counters) Counter { return c.Clear },
		},
		{
			name:    "sent by the node in clear",
			prepare: noLane,
			send:    func(l *lab) { _, _ = nfttest.Try(l.ping(l.side.peer, "")) },
			arrived: atLAN,
			counter: func(c Counters) Counter { return c.Clear },
		},
		{
			name:    "forwarded in clear after a DNAT",
			prepare: func(t *testing.T, l *lab) { noLane(t, l); l.dnat(t, l.service, l.side.peer) },
			send:    func(l *lab) { _, _ = l.pod.Try(l.ping(l.service, "")) },
			arrived: atLAN,
			counter: func(c Counters) Counter { return c.Clear },
		},
		{
			name:    "sent by the node in clear after a DNAT",
			prepare: func(t *testing.T, l *lab) { noLane(t, l); l.dnat(t, l.service, l.side.peer) },
			send:    func(l *lab) { _, _ = nfttest.Try(l.ping(l.service, "")) },
			arrived: atLAN,
			counter: func(c Counters) Counter { return c.Clear },
		},
		{
			name:    "a packet of no connection, which no NAT touches",
			send:    func(l *lab) { l.stray(l.world) },
			arrived: atLAN,
			counter: func(c Counters) Counter { return c.Clear },
		},
		{
			name: "a pod's answer to the underlay in clear",
			send: func(l *lab) { _, _ = l.lan.Try(l.ping(l.side.pod, l.side.lan)) },
			// The question comes from here; only the answer would come in.
			arrived: atLAN,
			counter: func(c Counters) Counter { return c.Clear },
		},
	}
	for _, c := range cases {
		for family, s := range sides {
			t.Run(c.name+"/"+family, func(t *testing.T) {
				t.Parallel()
				l := build(t, s)
				if c.prepare != nil {
					c.prepare(t, l)
				}
				arrived := func() int { return c.arrived(l) }
				// What waits for a neighbour's answer on a busy machine may come too late to be counted.
				for tries := 0; delta(arrived, func() { c.send(l) }) == 0; tries++ {
					if tries == 5 {
						t.Fatal("without the guard nothing arrives: this test proves nothing")
					}
				}
				run(t, "conntrack -F")
				g := newGuard(t)
				set(t, g, dual())
				if n := delta(arrived, func() { c.send(l) }); n != 0 {
					t.Errorf("%d packets arrived", n)
				}
				all, err := g.Counters()
				if err != nil {
					t.Fatal(err)
				}
				one := c.counter(all)
				if one.Packets == 0 || one.Bytes == 0 {
					t.Errorf("not counted: %+v", all)
				}
				if total := all.Clear.Packets + all.Foreign.Packets + all.PodSpoof.Packets + all.Spoofed.Packets + all.Transit.Packets; total != one.Packets {
					t.Errorf("counted as something else too: %+v", all)
				}
			})
		}
	}
}

// stray lets the pod send a SYN-ACK that answers nothing.
func (l *lab) stray(to string) {
	err := l.pod.Within(func() error {
		conn, err := net.Dial(map[string]string{"ip": "ip4:tcp", "ip6": "ip6:tcp"}[l.family], to)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		const syn, ack = 0x02, 0x10
		header := []byte{0x1f, 0x90, 0x1f, 0x91, 0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, syn | ack, 0x10, 0, 0, 0, 0, 0}
		_, err = conn.Write(header)
		return err
	})
	if err != nil {
		l.pod.T.Fatal(err)
	}
}
