package kube

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// Each step changes a copy of the Node n1 or n2, seen from n1, and says whether it is a change that we read.
func TestNodeSetTellsChanges(t *testing.T) {
	steps := []struct {
		name    string
		node    string
		change  func(*corev1.Node)
		changed bool
	}{
		{"the own Node comes", "n1", func(*corev1.Node) {}, true},
		{"another Node comes", "n2", func(*corev1.Node) {}, true},
		{"nothing", "n1", func(*corev1.Node) {}, false},
		{"a heartbeat", "n1", func(n *corev1.Node) {
			n.ResourceVersion = "43"
			n.Status.Conditions[0].LastHeartbeatTime = metav1.Now()
			n.Status.Conditions[1].LastHeartbeatTime = metav1.Now()
			n.Status.Images = nil
		}, false},
		{"a label and a foreign annotation", "n1", func(n *corev1.Node) {
			n.Labels["x"], n.Annotations["foreign"] = "y", "z"
		}, false},
		{"the label of a changed claim", "n1", func(n *corev1.Node) { delete(n.Labels, mesh.LabelChanged) }, true},
		{"another Node's", "n2", func(n *corev1.Node) { delete(n.Labels, mesh.LabelChanged) }, false},
		{"another Node's address", "n2", func(n *corev1.Node) { n.Status.Addresses[0].Address = "192.0.2.2" }, false},
		{"the own address", "n1", func(n *corev1.Node) { n.Status.Addresses[0].Address = "192.0.2.2" }, true},
		{"the own condition", "n1", func(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionFalse }, true},
		{"the override", "n1", func(n *corev1.Node) { n.Annotations[mesh.AnnotationEndpointOverride] = "192.0.2.3:1" }, true},
		{"a part of the claim without a key", "n1", func(n *corev1.Node) { n.Annotations[mesh.AnnotationVersion] = "v1" }, true},
		{"a key", "n2", func(n *corev1.Node) { n.Annotations[mesh.AnnotationPublicKey] = testKey(1).String() }, true},
		{"a malformed grant", "n2", func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"10.244.0.7/24"} }, true},
		{"a new UID", "n2", func(n *corev1.Node) { n.UID = "uid-2" }, true},
	}
	set := &nodeSet{ownName: "n1"}
	nodes := map[string]*corev1.Node{"n1": fullNode("n1"), "n2": fullNode("n2")}
	delete(nodes["n1"].Annotations, mesh.AnnotationPublicKey)
	delete(nodes["n2"].Annotations, mesh.AnnotationPublicKey)
	for _, step := range steps {
		step.change(nodes[step.node])
		var got bool
		if node := nodes[step.node]; step.node == "n1" {
			got = set.setOwn(node)
			if ignored, ask := set.set(seenWhole(node)); ignored || ask {
				t.Errorf("%s: the own Node's metadata are not ignored", step.name)
			}
		} else {
			got, _ = set.set(seenWhole(node))
		}
		if got != step.changed {
			t.Errorf("%s: changed %v, want %v", step.name, got, step.changed)
		}
	}
}

// nobody has a NodeKey.
var nobody = settler{holder: func(identity.PublicKey) string { return "" }, grants: func(*mesh.Node, labels.Set) {}}

func TestNodeSetSnapshot(t *testing.T) {
	set := &nodeSet{ownName: "n2"}
	for _, name := range []string{"n3", "n1", "n2"} {
		set.set(seenWhole(fullNode(name)))
	}
	set.setOwn(fullNode("n2"))
	before, own := set.snapshot(nobody)
	if !own.Exists {
		t.Error("the own Node is not seen")
	}
	if set.remove("n2") || !set.removeOwn("n2") || set.removeOwn("n2") {
		t.Error("the own Node's removal is a change once, and told by its own watch")
	}
	after, own := set.snapshot(nobody)
	if own.Exists {
		t.Error("the own Node is still seen")
	}
	name := func(n *mesh.Node) string { return n.Name }
	if got := names(before, name); !slices.Equal(got, []string{"n1", "n2", "n3"}) {
		t.Errorf("the first snapshot holds %v", got)
	}
	if got := names(after, name); !slices.Equal(got, []string{"n1", "n3"}) {
		t.Errorf("the second snapshot holds %v", got)
	}
}

func names[T any](items []T, name func(T) string) (texts []string) {
	for _, item := range items {
		texts = append(texts, name(item))
	}
	return texts
}

// TestSnapshotsFollowRandomChanges: what is put together of changes is what would be made anew, in order, and a snapshot stays as it was.
func TestSnapshotsFollowRandomChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	set, want := &nodeSet{}, map[string]byte{}
	for range 200 {
		before, _ := set.snapshot(nobody)
		kept := make([]mesh.Node, len(before))
		for i, n := range before {
			kept[i] = *n
		}
		for range random.IntN(4) {
			name := fmt.Sprintf("n%02d", random.IntN(60))
			if random.IntN(4) == 0 {
				set.remove(name)
				delete(want, name)
				continue
			}
			node := fullNode(name)
			want[name] = byte(random.IntN(8))
			node.Annotations[mesh.AnnotationPublicKey] = testKey(want[name]).String()
			set.set(seenWhole(node))
		}
		if random.IntN(3) == 0 {
			set.outdatedKeys()
		}
		after, _ := set.snapshot(settler{holder: func(key identity.PublicKey) string { return fmt.Sprint(key[0]) }, grants: nobody.grants})
		got := map[string]byte{}
		for _, n := range after {
			got[n.Name] = n.Claim.PublicKey[0]
		}
		if diff := cmp.Diff(want, got); diff != "" || !slices.IsSortedFunc(after, func(a, b *mesh.Node) int { return strings.Compare(a.Name, b.Name) }) {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if !slices.EqualFunc(before, kept, func(a *mesh.Node, b mesh.Node) bool { return a.Equal(b) }) {
			t.Fatal("a snapshot changed after it was taken")
		}
	}
}

func TestServiceSet(t *testing.T) {
	cidr := func(name string, cidrs ...string) *networkingv1.ServiceCIDR {
		return &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       networkingv1.ServiceCIDRSpec{CIDRs: cidrs},
		}
	}
	set := &serviceSet{}
	if !set.set(cidr("kubernetes", "fd00:10:96::/108", "10.96.0.0/16")) || set.set(cidr("kubernetes", "fd00:10:96::/108", "10.96.0.0/16")) {
		t.Error("the first CIDRs are a change once")
	}
	if !set.set(cidr("more", "10.97.0.0/24", "10.96.0.0/16", "nonsense")) {
		t.Error("more CIDRs are no change")
	}
	var texts []string
	for _, p := range set.snapshot() {
		texts = append(texts, p.String())
	}
	if want := []string{"10.96.0.0/16", "10.97.0.0/24", "fd00:10:96::/108"}; !slices.Equal(texts, want) {
		t.Errorf("got %v, want %v", texts, want)
	}
	if !set.remove("kubernetes") || set.remove("kubernetes") {
		t.Error("a removal is a change once")
	}
}
