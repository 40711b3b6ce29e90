package mesh_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/mesh"
)

// BenchmarkCompute is the cost of one event: the plan of one node, from all nodes, dual stack.
func BenchmarkCompute(b *testing.B) {
	for _, count := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) {
			benchmarkCompute(b, manyNodes(count))
		})
	}
}

// BenchmarkComputeWideGrant has one node more, the youngest, that was granted the whole cluster: everybody's grant overlaps
// its own, and that must cost the others nothing.
func BenchmarkComputeWideGrant(b *testing.B) {
	nodes := manyNodes(5000)
	wide := mesh.ParseNode(mesh.Fields{Name: "wide", UID: "wide", Created: epoch, PodCIDRs: []string{"10.0.0.0/8", "fd00::/16"}})
	benchmarkCompute(b, append(nodes, wide))
}

func benchmarkCompute(b *testing.B, nodes []mesh.Node) {
	b.Helper()
	local := benchLocal(nodes)
	b.ReportAllocs()
	var result mesh.Result
	for b.Loop() {
		result = mesh.Compute(local, nodes)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ms/op")
	peers := result.Plan.Lanes[0].Peers
	if len(peers) < 99 || !peers[0].Endpoint.IsValid() || len(peers[0].AllowedIPs) != 2 {
		b.Fatalf("the plan has %d peers, want a complete one", len(peers))
	}
}

func benchLocal(nodes []mesh.Node) mesh.Local {
	return mesh.Local{
		Name: nodes[0].Name, PublicKey: nodes[0].Claim.PublicKey, Interface: "warren0", ListenPort: 51820, UnderlayMTU: 1500,
		ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/16")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16"), netip.MustParsePrefix("fdff::/112")},
		Addresses:    []netip.Addr{netip.MustParseAddr("192.168.0.0"), netip.MustParseAddr("2001:db8::")},
	}
}

// manyNodes are sound nodes, each with a /24 and a /64, and the older the higher its number.
func manyNodes(count int) []mesh.Node {
	nodes := make([]mesh.Node, count)
	for i := range nodes {
		high, low := i/256, i%256
		cidrs := []string{fmt.Sprintf("10.%d.%d.0/24", high, low), fmt.Sprintf("fd00:0:0:%x::/64", i)}
		name := fmt.Sprintf("node-%05d", i*7919%count)
		nodes[i] = withNodeKey(mesh.ParseNode(mesh.Fields{
			Name: name, UID: name, Created: epoch.Add(-time.Duration(i+1) * time.Minute), PodCIDRs: cidrs,
			Annotations: map[string]string{
				mesh.AnnotationPublicKey:     keyOf(name).String(),
				mesh.AnnotationEndpoints:     fmt.Sprintf("192.168.%d.%d:51820,[2001:db8::%x]:51820", high, low, i),
				mesh.AnnotationPodCIDRs:      cidrs[0] + "," + cidrs[1],
				mesh.AnnotationMeshAddresses: fmt.Sprintf("10.%d.%d.1,fd00:0:0:%x::1", high, low, i),
				mesh.AnnotationVersion:       "v0.1.0",
			},
		}), name)
	}
	return nodes
}

// BenchmarkPlanner is the same where one node's endpoint has changed since the last plan.
func BenchmarkPlanner(b *testing.B) {
	for _, count := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) {
			values := manyNodes(count)
			nodes := make([]*mesh.Node, count)
			for i := range values {
				nodes[i] = &values[i]
			}
			slices.SortFunc(nodes, func(a, b *mesh.Node) int { return strings.Compare(a.Name, b.Name) })
			local := benchLocal(values)
			var planner mesh.Planner
			planner.Compute(local, nodes)
			b.ReportAllocs()
			for b.Loop() {
				changed := *nodes[count/2]
				changed.Claim.Endpoints = slices.Clone(changed.Claim.Endpoints)
				nodes = slices.Clone(nodes)
				nodes[count/2] = &changed
				planner.Compute(local, nodes)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ms/op")
		})
	}
}
