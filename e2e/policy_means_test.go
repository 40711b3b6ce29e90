package e2e

import (
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestKnocks proves the means by which policies are tested: without any, and without a mesh, everybody is reached by every protocol, and by SCTP
// as the kernel has it.
func TestKnocks(t *testing.T) {
	ctx := testContext(t)
	s := &scene{Lab: lab.New(t, lab.Options{Nodes: 2, UnderlayFamilies: lab.Dual, NoControlPlane: true})}
	t.Logf("SCTP by sockets: %v", lab.SCTPSockets())
	s.reachAmong(ctx, t, []string{"n1,n1@node>n2,out", "n2>n1", "out>n1,n2"}, nil)
	// Nor is there an answer where nobody listens: a port that nobody has, and a host that is none.
	n1, n2 := s.Node("n1"), s.Node("n2")
	for _, to := range n2.Addresses {
		for _, proto := range []string{"tcp", "udp", "sctp"} {
			if proto == "sctp" && !lab.SCTPSockets() {
				continue // by raw sockets all ports answer
			}
			k := knock{proto: proto, host: &n1.Host, address: netip.AddrPortFrom(to, 99)}
			if err := k.try(ctx, probeTimeout); err == nil {
				t.Errorf("port 99 of %s answers by %s", to, proto)
			}
		}
	}
	for _, proto := range protocols {
		k := knock{proto: proto, host: &n1.Host, address: netip.MustParseAddrPort("172.30.0.99:7")}
		if err := k.try(ctx, probeTimeout); err == nil {
			t.Errorf("nobody answers by %s", proto)
		}
	}
}
