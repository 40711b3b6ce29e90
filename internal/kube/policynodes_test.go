package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/api/v1alpha1"
)

// TestMeshAddressesOfLabelledNodes: a Node has those of its pod CIDRs and of the blocks that count, in whatever order they come.
func TestMeshAddressesOfLabelledNodes(t *testing.T) {
	n, told := newLabelledNodes(), 0
	changed := func() { told++ }
	nodes := newMirror(changed, n.set, n.remove)
	pools := newMirror(after(n.regranted, changed), n.pools.set, n.pools.remove)
	blocks := newMirror(changed, n.blocks.set, n.blocks.remove)
	node := fullNode("n2")
	node.Spec.PodCIDRs = []string{"10.244.2.0/24"}
	block := func(cidr, owner string, mesh bool) *v1alpha1.IPBlock {
		b := ipBlock(cidr, "v4", "n2")
		b.Spec.MeshAddress = mesh
		if owner == "" {
			b.OwnerReferences[0].UID = node.UID
		}
		return b
	}
	const own, ofPodCIDR, ofBlock = "192.0.2.1", "10.244.2.1", "10.64.9.1"
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"a block of a Node that is not known", func() error { return blocks.Add(block("10.64.9.0/26", "", true)) }, nil},
		{"the Node, without a pool", func() error { return nodes.Add(seeLabelled(node)) }, []string{own, ofPodCIDR}},
		{"the pool", func() error { return pools.Add(ipPool("v4", "10.64.0.0/16", 26, 0)) }, []string{own, ofPodCIDR, ofBlock}},
		{"a block for pods", func() error { return blocks.Add(block("10.64.1.0/26", "", false)) }, []string{own, ofPodCIDR, ofBlock}},
		{"one that another Node of that name owns", func() error { return blocks.Add(block("10.64.0.0/26", "other", true)) }, []string{own, ofPodCIDR, ofBlock}},
		{"the block goes", func() error { return blocks.Delete(block("10.64.9.0/26", "", true)) }, []string{own, ofPodCIDR}},
		{"and comes again", func() error { return blocks.Add(block("10.64.9.0/26", "", true)) }, []string{own, ofPodCIDR, ofBlock}},
		{"the pool goes", func() error { return pools.Delete(ipPool("v4", "10.64.0.0/16", 26, 0)) }, []string{own, ofPodCIDR}},
		{"the Node goes", func() error { return nodes.Delete(seeLabelled(node)) }, nil},
	} {
		told = 0
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		known, _ := n.get("n2")
		var got []string
		for _, a := range known.Addresses {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(step.want, got); diff != "" || told == 0 {
			t.Errorf("%s: told %d times (-want +got):\n%s", step.name, told, diff)
		}
	}
}
