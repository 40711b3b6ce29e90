package checkpoint

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// keyOf is a public key that belongs to a name.
func keyOf(name string) identity.PublicKey { return sha256.Sum256([]byte(name)) }

var local = mesh.Local{
	Name: "n0", PublicKey: keyOf("n0"), Interface: "warren0", ListenPort: 51820, UnderlayMTU: 1500,
	ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")},
	Addresses:    []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
}

// node is the n'th of a cluster, with claims[0] in place of what it should claim, where given.
func node(n int, endpoint string, claims ...string) mesh.Node {
	name := fmt.Sprintf("n%d", n)
	grants := []string{fmt.Sprintf("10.244.%d.0/24", n), fmt.Sprintf("fd00:10:244:%x::/64", n)}
	claim := mesh.Claim{PublicKey: keyOf(name), Version: "v0.1.0"}
	for _, p := range append(claims, grants...)[:2] {
		claim.PodCIDRs = append(claim.PodCIDRs, netip.MustParsePrefix(p))
	}
	if endpoint != "" {
		claim.Endpoints = []netip.AddrPort{netip.MustParseAddrPort(endpoint)}
	}
	return mesh.ParseNode(mesh.Fields{
		Name: name, UID: name, Created: time.Unix(int64(n), 0), PodCIDRs: grants, Annotations: claim.Annotations(),
	})
}

// plan is that of n0 in a cluster of n others, which all hold their keys.
func plan(n int) mesh.Plan {
	nodes := []mesh.Node{node(0, "192.0.2.1:51820")}
	for i := range n {
		nodes = append(nodes, node(i+1, fmt.Sprintf("192.0.2.%d:51820", i+2)))
	}
	return compute(local, nodes)
}

// compute is mesh.Compute where every node holds its key.
func compute(l mesh.Local, nodes []mesh.Node) mesh.Plan {
	l.Adopted = map[string]identity.PublicKey{}
	for _, n := range nodes {
		l.Adopted[n.Name] = n.Claim.PublicKey
	}
	return mesh.Compute(l, nodes).Plan
}

// drawPlan is the plan of a cluster in which nodes have no endpoint, claim less than or other than they were given, and are away.
func drawPlan(t *rapid.T) mesh.Plan {
	var nodes []mesh.Node
	for n := range rapid.IntRange(0, 12).Draw(t, "nodes") {
		endpoint := rapid.SampledFrom([]string{"", "192.0.2.9:51820", "[2001:db8::9]:1", "[::ffff:192.0.2.3]:51820"}).Draw(t, "endpoint")
		claims := rapid.SampledFrom([][]string{
			nil, {fmt.Sprintf("10.244.%d.0/25", n)}, {"10.244.3.0/24"}, {"10.0.0.0/8"}, {"fd00:10:244:3::/64"},
			{fmt.Sprintf("10.244.%d.0/25", n), fmt.Sprintf("10.244.%d.0/24", n)},
		}).Draw(t, "claims")
		nodes = append(nodes, node(n, endpoint, claims...))
	}
	if rapid.Bool().Draw(t, "n0 is away") {
		nodes = slices.DeleteFunc(nodes, func(n mesh.Node) bool { return n.Name == "n0" })
	}
	l := local
	l.NoNAT = rapid.Bool().Draw(t, "no NAT")
	if rapid.Bool().Draw(t, "an exclusion") {
		l.NATExclude = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}
	p := compute(l, nodes)
	for i := range p.Lanes[0].Peers {
		p.Lanes[0].Peers[i].Keepalive = time.Duration(rapid.IntRange(0, 65535).Draw(t, "keepalive")) * time.Second
	}
	return p
}
