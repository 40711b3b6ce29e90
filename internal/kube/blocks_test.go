package kube

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/mesh"
)

// poolNode is fullNode without pod CIDRs.
func poolNode(name string) *corev1.Node {
	node := fullNode(name)
	node.Spec.PodCIDRs = nil
	return node
}

// granted are a node's grants and doubts now, as text.
func granted(w *Watcher, name string) string {
	nodes := w.Snapshot().Nodes
	i := slices.IndexFunc(nodes, func(n *mesh.Node) bool { return n.Name == name })
	if i < 0 {
		return "none"
	}
	var text []string
	for _, p := range nodes[i].Grants {
		text = append(text, p.String())
	}
	for _, d := range nodes[i].Doubts {
		text = append(text, "not "+d.CIDR.String())
	}
	return strings.Join(text, " ")
}

// TestBlocksAreGrants: blocks, pools and Nodes come by different watches, in any order.
func TestBlocksAreGrants(t *testing.T) {
	w := newWatcher("n1", true)
	changes := 0
	changed := func() { changes++ }
	pools := newMirror(after(w.nodes.outdatedGrants, changed), w.pools.set, w.pools.remove)
	blocks := newMirror(changed, w.blocks.set, w.blocks.remove)
	want := func(what, want string, changed int) {
		t.Helper()
		if got := granted(w, "n2"); got != want || changes != changed {
			t.Errorf("%s: n2 is granted %q after %d changes, want %q after %d", what, got, changes, want, changed)
		}
	}
	node := poolNode("n2")
	node.Labels = map[string]string{"zone": "a", mesh.LabelChanged: ""}
	own := func(cidr string) *v1alpha1.IPBlock {
		b := ipBlock(cidr, "v4", "n2")
		b.OwnerReferences[0].UID = node.UID
		return b
	}
	second := own("10.64.0.0/26")
	second.CreationTimestamp = metav1.NewTime(second.CreationTimestamp.Add(time.Minute))
	blocks.Add(own("10.64.9.0/26"))
	want("a block without a Node", "none", 1)
	w.nodes.set(w.nodes.sight.whole(node))
	want("and without a pool", "not 10.64.9.0/26", 1)
	pools.Add(ipPool("v4", "10.64.0.0/16", 26, 0))
	want("with its pool", "10.64.9.0/26", 2)
	blocks.Add(second)
	want("another comes after it", "10.64.9.0/26 10.64.0.0/26", 3)

	others := ipPool("v4", "10.64.0.0/16", 26, 0)
	others.Spec.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"zone": "b"}}
	pools.Update(others)
	want("the pool is for other nodes", "not 10.64.0.0/26 not 10.64.9.0/26", 4)
	moved := node.DeepCopy()
	moved.Labels["zone"], moved.ResourceVersion = "b", "1000000"
	if told, _ := w.nodes.set(w.nodes.sight.metadata(&moved.ObjectMeta)); !told {
		t.Error("another label is no change")
	}
	want("the node is one of them", "10.64.9.0/26 10.64.0.0/26", 4)

	freed := own("10.64.9.0/26")
	freed.DeletionTimestamp = &metav1.Time{Time: time.Unix(1e9, 0)}
	blocks.Update(freed)
	want("its block is being deleted", "10.64.9.0/26 10.64.0.0/26", 5)
	blocks.Delete(freed)
	want("it is gone", "10.64.0.0/26", 6)
	before := w.Snapshot()
	anew := ipBlock("10.64.0.0/26", "v4", "n3")
	blocks.Update(anew)
	want("the other became n3's", "", 7)
	if len(before.Nodes[0].Grants) != 1 || before.Blocks[0].Node != "n2" {
		t.Error("a snapshot changed after it was taken")
	}
	misnamed := own("10.64.1.0/26")
	misnamed.Name = "10.64.2.0-26"
	blocks.Add(misnamed)
	want("a block under another's name", "", 7)
}

// TestAnyBlocksAndPools: what is put together of changes is what would be made anew of the whole.
func TestAnyBlocksAndPools(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	w := newWatcher("n0", true)
	pools := newMirror(after(w.nodes.outdatedGrants, func() {}), w.pools.set, w.pools.remove)
	blocks := newMirror(func() {}, w.blocks.set, w.blocks.remove)
	have := map[string]*v1alpha1.IPBlock{}
	havePools := map[string]*v1alpha1.IPPool{}
	var nodes []*corev1.Node
	for i := range 40 {
		nodes = append(nodes, poolNode(fmt.Sprintf("m%02d", i)))
		w.nodes.set(w.nodes.sight.whole(nodes[i]))
	}
	for step := range 300 {
		switch random.IntN(6) {
		case 0:
			p := ipPool("p", "10.64.0.0/16", int32(26+random.IntN(2)), 0)
			pools.Add(p)
			havePools["p"] = p
		case 1:
			pools.Delete(ipPool("p", "10.64.0.0/16", 26, 0))
			delete(havePools, "p")
		default:
			node := nodes[random.IntN(len(nodes))]
			b := ipBlock(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64, byte(random.IntN(8)), 0}), 26).String(), "p", node.Name)
			b.OwnerReferences[0].UID = node.UID
			if random.IntN(3) == 0 {
				blocks.Delete(b)
				delete(have, b.Name)
			} else {
				blocks.Update(b)
				have[b.Name] = b
			}
		}
		if random.IntN(3) > 0 {
			continue
		}
		fresh := newWatcher("n0", true)
		for _, n := range nodes {
			fresh.nodes.set(fresh.nodes.sight.whole(n))
		}
		for _, b := range have {
			fresh.blocks.set(b)
		}
		for _, p := range havePools {
			fresh.pools.set(p)
		}
		if diff := cmp.Diff(fresh.Snapshot().Blocks, w.Snapshot().Blocks, cmp.Comparer(equalBlocks)); diff != "" {
			t.Fatalf("step %d: blocks (-anew +got):\n%s", step, diff)
		}
		for _, n := range nodes {
			if got, want := granted(w, n.Name), granted(fresh, n.Name); got != want {
				t.Fatalf("step %d: %s is granted %q, want %q", step, n.Name, got, want)
			}
		}
	}
}
