package mesh_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// TestPlannerIsCompute: whatever nodes come, change and go, and whatever this node learns of itself meanwhile, a plan made of the one
// before is the plan made from the ground.
func TestPlannerIsCompute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local, mtus := drawnLocal, map[netip.Addr]int{}
		local.PathMTU = func(a netip.Addr) int { return mtus[a] }
		var planner mesh.Planner
		nodes := map[string]*mesh.Node{}
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			switch rapid.SampledFrom([]string{"nodes", "nodes", "nodes", "local", "adopted", "paths"}).Draw(t, "what changes") {
			case "nodes":
				changeNodes(t, nodes)
			case "local":
				changeLocal(t, &local)
			case "adopted":
				key := rapid.SampledFrom([]string{"n1", "n2", "n3"}).Draw(t, "adopted")
				local.Adopted = map[string]identity.PublicKey{key: keyOf(key)}
			case "paths":
				mtus[netip.MustParseAddr("192.0.2.2")] = rapid.SampledFrom([]int{0, 1400, 1500, 9000}).Draw(t, "MTU")
				planner.Reset()
			}
			sorted := slices.SortedFunc(maps.Values(nodes), func(a, b *mesh.Node) int { return strings.Compare(a.Name, b.Name) })
			values := make([]mesh.Node, len(sorted))
			for i, n := range sorted {
				values[i] = *n
			}
			want, got := mesh.Compute(local, values), planner.Compute(local, sorted)
			if diff := cmp.Diff(want, got, asValues); diff != "" {
				t.Fatalf("(-from the ground +from the one before):\n%s", diff)
			}
		}
	})
}

// changeNodes draws some nodes anew, removes some, and leaves the others the same pointers.
func changeNodes(t *rapid.T, nodes map[string]*mesh.Node) {
	for _, f := range drawCluster(t) {
		switch rapid.IntRange(0, 3).Draw(t, f.Name+" changes") {
		case 0:
			delete(nodes, f.Name)
		case 1:
			n := withNodeKey(mesh.ParseNode(f), "n0", "n1", "n2", "n3")
			nodes[f.Name] = &n
		case 2: // Alone it quarrels with nobody.
			index := f.Name[1:]
			f.PodCIDRs = []string{"10.244.2" + index + ".0/24"}
			f.Annotations[mesh.AnnotationPodCIDRs] = f.PodCIDRs[0]
			n := withNodeKey(mesh.ParseNode(f), f.Name)
			nodes[f.Name] = &n
		}
	}
}

// changeLocal changes one thing of what the node knows of itself.
func changeLocal(t *rapid.T, local *mesh.Local) {
	switch rapid.IntRange(0, 11).Draw(t, "field") {
	case 0:
		local.PublicKey = keyOf(rapid.SampledFrom([]string{"n0", "n1"}).Draw(t, "key"))
	case 1:
		local.Interface = rapid.SampledFrom([]string{"warren0", "wg0"}).Draw(t, "interface")
	case 2:
		local.ListenPort++
	case 3:
		local.MTU = rapid.SampledFrom([]int{0, 1300}).Draw(t, "lane MTU")
	case 4:
		local.UnderlayMTU = rapid.SampledFrom([]int{0, 1500, 9000}).Draw(t, "underlay MTU")
	case 5:
		local.Addresses = rapid.SampledFrom([][]netip.Addr{nil, drawnLocal.Addresses, {netip.MustParseAddr("2001:db8::1")}}).Draw(t, "addresses")
	case 9:
		own := netip.MustParseAddr("10.244.0.1")
		local.Mesh = rapid.SampledFrom([][]netip.Addr{nil, {}, {own}, {own, netip.MustParseAddr("10.99.0.1")}}).Draw(t, "mesh addresses")
	case 10:
		local.OldLinks = rapid.SampledFrom([][]string{nil, {"flannel.1"}}).Draw(t, "old links")
	case 11:
		drawMigration(t, local)
	case 6:
		local.ServiceCIDRs = rapid.SampledFrom([][]netip.Prefix{nil, drawnLocal.ServiceCIDRs}).Draw(t, "service CIDRs")
	case 7:
		local.NoNAT = !local.NoNAT
	case 8:
		local.NATExclude = rapid.SampledFrom([][]netip.Prefix{nil, {netip.MustParsePrefix("192.0.2.0/24")}}).Draw(t, "NAT exclusions")
	}
}
