package mesh_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/mesh"
)

// TestABlockThatDoesNotCount is spoken of where it is claimed, and on its own node.
func TestABlockThatDoesNotCount(t *testing.T) {
	granted, doubtful := netip.MustParsePrefix("10.64.0.0/26"), netip.MustParsePrefix("10.64.1.0/26")
	doubts := []mesh.Doubt{{CIDR: doubtful, Why: "IPPool edge is for nodes with edge=true"}}
	local := mesh.Local{Name: "n1", PublicKey: keyOf("n1"), Interface: "warren0", ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/16")}}
	node := func(name string, grants, claims []netip.Prefix) mesh.Node {
		return mesh.Node{Name: name, UID: name, Grants: grants, Doubts: doubts, KeyHolder: name, Claim: mesh.Claim{PublicKey: keyOf(name), PodCIDRs: claims}}
	}
	both := []netip.Prefix{granted, doubtful}
	for name, c := range map[string]struct {
		node    mesh.Node
		allowed []netip.Prefix
		want    []mesh.Refusal
	}{
		"not claimed": {node: node("n2", both[:1], both[:1]), allowed: both[:1]},
		"claimed": {node("n2", both[:1], both), both[:1], []mesh.Refusal{{Node: "n2", Reason: mesh.NotGranted, Detail: "pod CIDR 10.64.1.0/26 is in none of its " +
			"grants (10.64.0.0/26); block 10.64.1.0/26 does not count: IPPool edge is for nodes with edge=true"}}},
		"all that is claimed": {node("n2", nil, both[1:]), nil, []mesh.Refusal{{Node: "n2", Reason: mesh.NotGranted, Detail: "pod CIDR 10.64.1.0/26 is in none of its " +
			"grants (none); block 10.64.1.0/26 does not count: IPPool edge is for nodes with edge=true"}}},
		"its own": {node("n1", both[:1], nil), nil, []mesh.Refusal{{Node: "n1", Reason: mesh.NotGranted,
			Detail: "block 10.64.1.0/26 does not count: IPPool edge is for nodes with edge=true"}}},
	} {
		t.Run(name, func(t *testing.T) {
			result := mesh.Compute(local, []mesh.Node{c.node})
			var allowed []netip.Prefix
			for _, p := range result.Plan.Lanes[0].Peers {
				allowed = append(allowed, p.AllowedIPs...)
			}
			if diff := cmp.Diff(c.allowed, allowed, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("allowed IPs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, result.Refusals); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
}
