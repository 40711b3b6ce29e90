package mesh_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/mesh"
)

// TestMeshAddressesThatAreGiven: they count as far as they are the node's own, and the routes' sources follow them.
func TestMeshAddressesThatAreGiven(t *testing.T) {
	own := mesh.Node{Name: "n0", Grants: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("10.244.9.0/28")}}
	for name, c := range map[string]struct {
		given []netip.Addr
		want  []netip.Addr
	}{
		"none are": {want: []netip.Addr{netip.MustParseAddr("10.244.0.1")}},
		"not yet":  {given: []netip.Addr{}, want: []netip.Addr{}},
		"of a block": {
			given: []netip.Addr{netip.MustParseAddr("10.244.9.1"), netip.MustParseAddr("fd00::1")}, want: []netip.Addr{netip.MustParseAddr("10.244.9.1")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			local := mesh.Local{Name: "n0", Interface: "warren0", ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Mesh: c.given}
			plan := mesh.Compute(local, []mesh.Node{own}).Plan
			if diff := cmp.Diff(c.want, plan.Guard.Mesh, asValues); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(plan.Lanes[0].Addresses) != len(c.want) {
				t.Errorf("the lane has %s", plan.Lanes[0].Addresses)
			}
		})
	}
}
