package guard

import (
	"net"
	"testing"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
)

// TestPasses sends what the guard has to let through, and looks at what it looks like on the other side.
func TestPasses(t *testing.T) {
	for family, s := range sides {
		t.Run(family, func(t *testing.T) {
			l := build(t, s)
			set(t, newGuard(t), dual())
			for _, c := range []struct {
				name string
				on   func(string) (string, error)
				to   string
				from string
			}{
				{"pod to the peer's pod", l.pod.Try, s.peer, ""},
				{"pod to the peer's mesh address", l.pod.Try, s.peerMesh, ""},
				{"pod to its own node", l.pod.Try, s.node, ""},
				{"pod to its node's mesh address", l.pod.Try, s.mesh, ""},
				{"pod to another node's address", l.pod.Try, s.lan, ""},
				{"pod to the world", l.pod.Try, s.world, ""},
				{"pod to itself", l.pod.Try, s.pod, ""},
				{"node to its pod", nfttest.Try, s.pod, ""},
				{"node to its mesh address", nfttest.Try, s.mesh, ""},
				{"node to the peer's pod", nfttest.Try, s.peer, ""},
				{"node to the peer's pod, from its own address", nfttest.Try, s.peer, s.node},
				{"node to the world", nfttest.Try, s.world, ""},
				{"peer to the pod", l.peer.Try, s.pod, s.peer},
				{"peer to the mesh address", l.peer.Try, s.mesh, s.peerMesh},
				{"underlay to the node", l.lan.Try, s.node, ""},
			} {
				if out, err := c.on(s.ping(c.to, c.from)); err != nil {
					t.Errorf("%s: %v\n%s", c.name, err, out)
				}
			}
			if n := l.lan.seen("pods"); n != 0 {
				t.Errorf("%d packets with a pod's address on the underlay", n)
			}
		})
	}
}

// TestSourceOnLane looks for the mesh address on what the node sends by a lane after a DNAT, and on what it forwards for others.
func TestSourceOnLane(t *testing.T) {
	for family, s := range sides {
		t.Run(family, func(t *testing.T) {
			l := build(t, s)
			set(t, newGuard(t), dual())
			l.dnat(t, s.service, s.peer)
			l.lan.Run("ip route add %s via %s", s.service, s.node)
			l.peer.Run(`nft "add counter inet tap fromMesh; add rule inet tap in %s saddr %s counter name fromMesh"`, s.family, s.mesh)
			fromMesh := func() int { return l.peer.seen("fromMesh") }
			if n := delta(fromMesh, func() { run(t, "%s", s.ping(s.service, "")) }); n == 0 {
				t.Error("the node's packet to a service has another source than the mesh address")
			}
			if n := delta(fromMesh, func() { l.lan.Run("%s", s.ping(s.service, "")) }); n == 0 {
				t.Error("the packet of somebody outside to a service has another source than the mesh address")
			}
			if n := delta(fromMesh, func() { l.pod.Run("%s", s.ping(s.service, "")) }); n != 0 {
				t.Error("the pod's packet to a service has lost the pod's address")
			}
		})
	}
}

// TestSegmentSize opens a TCP connection over a lane that is narrower than its ends.
func TestSegmentSize(t *testing.T) {
	const mtu = 1380
	headers := map[string]int{"ip": 40, "ip6": 60}
	for family, s := range sides {
		t.Run(family, func(t *testing.T) {
			l := build(t, s)
			run(t, "ip link set warren0 mtu %d", mtu)
			set(t, newGuard(t), dual())
			right := `nft "add counter inet tap right; add rule inet tap in tcp flags syn tcp option maxseg size %d counter name right"`
			l.peer.Run(right, mtu-headers[s.family])
			l.pod.Run(right, mtu-headers[s.family])

			var listener net.Listener
			if err := l.peer.Within(func() (err error) {
				listener, err = net.Listen("tcp", net.JoinHostPort(s.peer, "7000"))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			if err := l.pod.Within(func() error {
				conn, err := net.Dial("tcp", net.JoinHostPort(s.peer, "7000"))
				if err != nil {
					return err
				}
				return conn.Close()
			}); err != nil {
				t.Fatal(err)
			}
			if n := l.peer.seen("right"); n != 1 {
				t.Errorf("%d of 1 SYN with the right segment size reached the peer", n)
			}
			if n := l.pod.seen("right"); n != 1 {
				t.Errorf("%d of 1 SYN-ACK with the right segment size reached the pod", n)
			}
		})
	}
}

// TestUngranted is a node that has been given nothing yet: it protects the cluster's addresses all the same.
func TestUngranted(t *testing.T) {
	l := build(t, sides["IPv4"])
	run(t, "ip route del %s dev warren0", l.peers)
	g := newGuard(t)
	want := dual()
	want.Lanes, want.Own, want.Mesh = nil, nil, nil
	set(t, g, want)
	if out, err := nfttest.Try(l.ping(l.side.peer, "")); err == nil {
		t.Errorf("an answer came:\n%s", out)
	}
	if n := l.lan.seen("pods"); n != 0 {
		t.Errorf("%d packets left in clear", n)
	}
	if c, err := g.Counters(); err != nil || c.Clear.Packets == 0 {
		t.Errorf("counters %+v, error %v", c, err)
	}
}
