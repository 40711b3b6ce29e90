package guard

import (
	"net"
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/mesh"
)

// TestNAT looks from the underlay at whose address pods' packets have that leave the cluster or go to another node.
func TestNAT(t *testing.T) {
	t.Parallel()
	for family, s := range sides {
		world, lan := netip.MustParseAddr(s.world), netip.MustParseAddr(s.lan)
		everywhere := prefixes("192.168.0.0/16", "203.0.113.0/24", "2001:db8::/32")
		for _, c := range []struct {
			name         string
			change       func(g *mesh.Guard)
			world, other string
		}{
			{"by default", func(*mesh.Guard) {}, "node", "node"},
			{"with an exclusion", func(g *mesh.Guard) { g.NATExclude = single([]netip.Addr{world}) }, "pod", "node"},
			{"with one that the other node is in", func(g *mesh.Guard) { g.NATExclude, g.Nodes = everywhere, []netip.Addr{lan} }, "pod", "node"},
			{"off", func(g *mesh.Guard) { g.NATOff, g.Nodes = g.Own, []netip.Addr{lan} }, "pod", "node"},
			{"off for other pods", func(g *mesh.Guard) {
				g.NATOff, g.Nodes = prefixes("10.244.5.0/24", "fd00:244:0:5::/64"), []netip.Addr{lan}
				g.Own = append(g.Own, g.NATOff...)
			}, "node", "node"},
		} {
			t.Run(family+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				l := build(t, s)
				l.lan.Run(`nft "add counter inet tap pod; add counter inet tap node; add rule inet tap in %s saddr %s icmp type echo-request counter name pod; add rule inet tap in %s saddr %s icmp type echo-request counter name node"`,
					s.family, s.pod, s.family, s.node)
				l.lan.Run(`nft "add rule inet tap in %s saddr %s icmpv6 type echo-request counter name pod; add rule inet tap in %s saddr %s icmpv6 type echo-request counter name node"`,
					s.family, s.pod, s.family, s.node)
				want := dual()
				c.change(&want)
				g := newGuard(t)
				set(t, g, want)
				for to, source := range map[string]string{s.world: c.world, s.lan: c.other} {
					for _, one := range []string{"pod", "node"} {
						n := delta(func() int { return l.lan.seen(one) }, func() { l.pod.Run("%s", s.ping(to, "")) })
						if (n > 0) != (one == source) {
							t.Errorf("to %s: %d packets with the %s's address, want those of the %s's", to, n, one, source)
						}
					}
				}
				for _, to := range []string{s.peer, s.peerMesh, s.node, s.mesh} { // which are no matter of this
					l.pod.Run("%s", s.ping(to, ""))
				}
				// A packet that no NAT touches does not get out in another way.
				l.stray(s.lan)
				all, err := g.Counters()
				if err != nil || all.Clear.Packets != 1 {
					t.Errorf("a stray packet to the other node: %+v, %v", all, err)
				}
				run(t, "nft list ruleset | nft -c -f -")
			})
		}
	}
}

// TestPorts: flows that begin at one port of a pod are seen to begin at others.
func TestPorts(t *testing.T) {
	t.Parallel()
	for family, s := range sides {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			l := build(t, s)
			set(t, newGuard(t), dual())
			l.lan.Run(`nft "add counter inet tap same; add counter inet tap flows; add rule inet tap in udp dport 5000-5099 counter name flows; add rule inet tap in udp sport 40000 counter name same"`)
			const flows = 20
			if err := l.pod.Within(func() error {
				// One socket for all: a port is not free at once after Close while another test starts a process, which holds
				// a copy of the socket until its exec.
				conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: 40000})
				if err != nil {
					return err
				}
				defer func() { _ = conn.Close() }()
				for i := range flows {
					if _, err := conn.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(netip.MustParseAddr(s.world), uint16(5000+i))); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if n, same := l.lan.seen("flows"), l.lan.seen("same"); n != flows || same > 1 {
				t.Errorf("%d of %d flows came, %d of them from the pod's own port", n, flows, same)
			}
		})
	}
}
