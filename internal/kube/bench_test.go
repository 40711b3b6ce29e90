package kube

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/api/v1alpha1"
)

// BenchmarkSnapshot is the cost of an event among 5,000 Nodes with two blocks each.
func BenchmarkSnapshot(b *testing.B) {
	w := newWatcher("n1", true)
	w.pools.set(ipPool("v4", "10.0.0.0/8", 26, 0))
	var one *v1alpha1.IPBlock
	for i := range 5000 {
		node := poolNode(fmt.Sprintf("m%04d", i))
		w.nodes.set(w.nodes.sight.whole(node))
		for j := range 2 {
			addr := netip.AddrFrom4([4]byte{10, byte(j), byte(i >> 2), byte(i << 6)})
			if i >= 1024 {
				addr = netip.AddrFrom4([4]byte{10, byte(2 + i>>10<<1 + j), byte(i >> 2), byte(i << 6)})
			}
			one = ipBlock(netip.PrefixFrom(addr, 26).String(), "v4", node.Name)
			one.OwnerReferences[0].UID = node.UID
			w.blocks.set(one)
		}
	}
	b.Run("block", func(b *testing.B) {
		for b.Loop() {
			one.Spec.MeshAddress = !one.Spec.MeshAddress
			w.blocks.set(one)
			w.Snapshot()
		}
	})
	b.Run("pool", func(b *testing.B) {
		for b.Loop() {
			w.nodes.outdatedGrants()
			w.Snapshot()
		}
	})
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			w.nodes.outdatedKeys()
			w.Snapshot()
		}
	})
}
