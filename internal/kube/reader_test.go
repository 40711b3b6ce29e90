package kube

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/mesh"
)

// aNode is the Node n2 as far as it is read. Its claim says which version of it that is.
func aNode(uid, version string, podCIDRs ...string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n2", UID: types.UID(uid), ResourceVersion: version, Annotations: map[string]string{
			mesh.AnnotationPublicKey: testKey(1).String(), mesh.AnnotationVersion: uid + version,
		}},
		Spec: corev1.NodeSpec{PodCIDRs: podCIDRs},
	}
}

// aRow is what a table says of it.
func aRow(version string) *seenNode {
	return &seenNode{ObjectMeta: metav1.ObjectMeta{Name: "n2", ResourceVersion: version}}
}

// aClaim is what comes with the label.
func aClaim(uid, version string) *seenNode { return seenMetadata(&aNode(uid, version).ObjectMeta) }

// Each step is an event, or the answer to what was asked for before the steps since then, and says what is known after it: the version of
// the claim and the first pod CIDR; and whether the Node is to be read.
func TestWhatIsHeldOfANode(t *testing.T) {
	const cidr, other = "10.244.2.0/24", "10.244.3.0/24"
	var asked *heldNode
	ask := func(s *nodeSet) { asked = s.asked("n2") }
	tell := func(n *seenNode) func(*nodeSet) { return func(s *nodeSet) { s.set(n) } }
	list := func(n *corev1.Node) func(*nodeSet) { return tell(seenWhole(n)) }
	row := func(version string) func(*nodeSet) { return tell(aRow(version)) }
	claim := func(uid, version string) func(*nodeSet) { return tell(aClaim(uid, version)) }
	late := func(n *corev1.Node) func(*nodeSet) {
		return func(s *nodeSet) { s.answer(asked, seenWhole(n)) }
	}
	answer := func(n *corev1.Node) func(*nodeSet) {
		return func(s *nodeSet) { s.answer(s.asked("n2"), seenWhole(n)) }
	}
	notFound := func(s *nodeSet) { s.answer(s.asked("n2"), nil) }
	gone := func(s *nodeSet) { s.remove("n2") }
	unclaimed := func(version string) *corev1.Node {
		n := aNode("a", version, cidr)
		n.Annotations = nil
		return n
	}
	type step struct {
		do    func(*nodeSet)
		known string
		asked bool
	}
	for name, steps := range map[string][]step{
		"listed":          {{list(aNode("a", "1", cidr)), "a1 " + cidr, false}, {row("2"), "a1 " + cidr, false}},
		"a claim changes": {{list(aNode("a", "1", cidr)), "a1 " + cidr, false}, {claim("a", "2"), "a2 " + cidr, false}},
		"new": {
			{row("1"), "", true}, {answer(aNode("a", "1", cidr)), "a1 " + cidr, false}, {row("2"), "a1 " + cidr, false},
			{claim("a", "3"), "a3 " + cidr, false},
		},
		"new, and changed while it is read": {
			{row("1"), "", true}, {ask, "", true}, {row("2"), "", true}, {late(aNode("a", "1")), "", true},
			{answer(aNode("a", "2", cidr)), "a2 " + cidr, false},
		},
		"new, and its claim comes first": {
			{claim("a", "2"), "", true}, {row("1"), "", true}, {answer(aNode("a", "2", cidr)), "a2 " + cidr, false}, {row("1"), "a2 " + cidr, false},
		},
		"pod CIDRs come later": {
			{list(aNode("a", "1")), "a1 ", false}, {row("1"), "a1 ", false}, {row("2"), "a1 ", true},
			{answer(aNode("a", "2")), "a2 ", false}, {row("2"), "a2 ", false}, {row("3"), "a2 ", true},
			{answer(aNode("a", "3", cidr)), "a3 " + cidr, false}, {row("4"), "a3 " + cidr, false},
		},
		"pod CIDRs come with a claim, whose row tells nothing new": {
			{list(aNode("a", "1")), "a1 ", false}, {claim("a", "2"), "a2 ", true}, {answer(aNode("a", "2", cidr)), "a2 " + cidr, false},
		},
		"a claim comes later, without the label": {
			{list(unclaimed("1")), " " + cidr, false}, {row("2"), " " + cidr, true}, {answer(unclaimed("2")), " " + cidr, false},
			{row("3"), " " + cidr, true}, {answer(aNode("a", "3", cidr)), "a3 " + cidr, false}, {row("4"), "a3 " + cidr, false},
		},
		"a claim changes while the Node is read": {
			{list(aNode("a", "1")), "a1 ", false}, {row("2"), "a1 ", true}, {ask, "a1 ", true}, {claim("a", "3"), "a3 ", true},
			{late(aNode("a", "2", cidr)), "a3 ", true}, {answer(aNode("a", "3", cidr)), "a3 " + cidr, false},
		},
		"a claim that is late": {
			{list(aNode("a", "5", cidr)), "a5 " + cidr, false}, {claim("a", "4"), "a5 " + cidr, true},
			{answer(aNode("a", "6", cidr)), "a6 " + cidr, false}, {claim("a", "6"), "a6 " + cidr, false},
		},
		"a claim of before the restore of a backup": { // or of after it: what was read says
			{list(aNode("a", "5", cidr)), "a5 " + cidr, false}, {claim("a", "4"), "a5 " + cidr, true}, {answer(aNode("a", "4", cidr)), "a4 " + cidr, false},
		},
		"a claim of a version that is no number": {{list(aNode("a", "5", cidr)), "a5 " + cidr, false}, {claim("a", "x"), "a5 " + cidr, true}},
		"a late claim of a Node that is gone": {
			{list(aNode("a", "1", cidr)), "a1 " + cidr, false}, {gone, "", false}, {claim("a", "2"), "", true}, {notFound, "", false},
		},
		"an answer for a Node that is gone": {
			{row("1"), "", true}, {ask, "", true}, {gone, "", false}, {late(aNode("a", "1", cidr)), "", false},
		},
		"made anew": {
			{list(aNode("a", "1", cidr)), "a1 " + cidr, false}, {gone, "", false}, {row("3"), "", true},
			{answer(aNode("b", "3", other)), "b3 " + other, false},
		},
		"made anew while it is read": {
			{row("1"), "", true}, {ask, "", true}, {gone, "", false}, {row("3"), "", true}, {late(aNode("a", "1", cidr)), "", true},
			{answer(aNode("b", "3", other)), "b3 " + other, false},
		},
		"made anew, and its claim comes before the rows": {
			{list(aNode("a", "1", cidr)), "a1 " + cidr, false}, {claim("b", "4"), "a1 " + cidr, true},
			{answer(aNode("b", "4", other)), "b4 " + other, false}, {gone, "", false}, {row("3"), "", true},
			{answer(aNode("b", "4", other)), "b4 " + other, false},
		},
		"a late claim of the Node before": {
			{list(aNode("b", "5", other)), "b5 " + other, false}, {claim("a", "4"), "b5 " + other, true},
			{answer(aNode("b", "5", other)), "b5 " + other, false},
		},
		"gone when it is read": {{list(aNode("a", "5", cidr)), "a5 " + cidr, false}, {claim("b", "6"), "a5 " + cidr, true}, {notFound, "", false}},
		"a list again":         {{list(aNode("a", "1", cidr)), "a1 " + cidr, false}, {list(aNode("b", "4", other)), "b4 " + other, false}},
		"a list settles what was asked": {
			{row("1"), "", true}, {ask, "", true}, {list(aNode("a", "2", cidr)), "a2 " + cidr, false},
			{late(aNode("a", "1")), "a2 " + cidr, false},
		},
		"a list of a store that was restored": {
			{list(aNode("a", "5", cidr)), "a5 " + cidr, false}, {(*nodeSet).restored, "a5 " + cidr, false},
			{list(aNode("a", "4", other)), "a4 " + other, false}, {claim("a", "5"), "a5 " + other, false},
		},
		"a Node that was read before its list, of a store that was restored": {
			{list(aNode("a", "5", cidr)), "a5 " + cidr, false}, {claim("b", "6"), "a5 " + cidr, true}, {ask, "a5 " + cidr, true},
			{(*nodeSet).restored, "a5 " + cidr, true}, {late(aNode("b", "6", cidr)), "a5 " + cidr, true},
			{answer(aNode("a", "4", other)), "a4 " + other, false}, {list(aNode("a", "3", cidr)), "a4 " + other, true},
		},
		"a list that is older": { // than what was read meanwhile
			{list(aNode("a", "5", cidr)), "a5 " + cidr, false}, {list(aNode("a", "4", other)), "a5 " + cidr, true},
			{answer(aNode("a", "4", other)), "a4 " + other, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			set := &nodeSet{ownName: "n1"}
			for i, step := range steps {
				step.do(set)
				known := ""
				if nodes, _ := set.snapshot(nobody); len(nodes) > 0 {
					known = nodes[0].Claim.Version + " "
					if len(nodes[0].Grants) > 0 {
						known += nodes[0].Grants[0].String()
					}
				}
				if asked := set.asked("n2") != nil; known != step.known || asked != step.asked {
					t.Errorf("step %d: %q, asked %v; want %q and %v", i+1, known, asked, step.known, step.asked)
				}
			}
		})
	}
}

func TestMalformedGrantsStayTold(t *testing.T) {
	set := &nodeSet{}
	set.set(seenWhole(aNode("a", "1", "10.244.2.7/24")))
	_, ask := set.set(aClaim("a", "2"))
	if nodes, _ := set.snapshot(nobody); nodes[0].Malformed == "" || ask {
		t.Errorf("the Node is %+v and is to be read again: %v", nodes[0], ask)
	}
}

// TestNodesAreReadUntilTheyAreWhole: reading fails, finds no pod CIDRs, some, and then no Node.
func TestNodesAreReadUntilTheyAreWhole(t *testing.T) {
	set := &nodeSet{ownName: "n1"}
	var reads atomic.Int32
	changed := make(chan struct{}, 10)
	answered := make(chan struct{}, 10)
	reader := newNodeReader(set, func(context.Context, string) (*seenNode, error) {
		defer func() { answered <- struct{}{} }()
		switch reads.Add(1) {
		case 1:
			return nil, apierrors.NewServiceUnavailable("a test")
		case 2:
			return nil, errors.New("no connection")
		case 3:
			return seenWhole(aNode("a", "1")), nil
		case 4:
			return seenWhole(aNode("a", "2", "10.244.2.0/24")), nil
		default:
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, "n2")
		}
	}, func() { changed <- struct{}{} })
	go reader.run(t.Context())
	await := func(what <-chan struct{}) {
		t.Helper()
		select {
		case <-what:
		case <-time.After(patience):
			t.Fatalf("nothing comes after %d reads", reads.Load())
		}
	}
	reader.set(aRow("1"))
	for range 3 {
		await(answered)
	}
	await(changed)
	reader.set(aRow("2"))
	await(changed)
	if nodes, _ := set.snapshot(nobody); len(nodes) != 1 || len(nodes[0].Grants) != 1 || reads.Load() != 4 {
		t.Errorf("the Nodes are %+v after %d reads", nodes, reads.Load())
	}
	reader.set(aClaim("b", "3"))
	await(changed)
	if nodes, _ := set.snapshot(nobody); len(nodes) != 0 {
		t.Errorf("a Node that is gone is %+v", nodes)
	}
	if len(changed) != 0 {
		t.Error("what is no change is told as one")
	}
}

// TestAnAnswerThatIsTooLate is asked for again.
func TestAnAnswerThatIsTooLate(t *testing.T) {
	set := &nodeSet{ownName: "n1"}
	var reads atomic.Int32
	var reader *nodeReader
	changed := make(chan struct{}, 10)
	reader = newNodeReader(set, func(context.Context, string) (*seenNode, error) {
		if reads.Add(1) == 1 {
			reader.remove("n2")
			reader.set(aRow("3"))
			return seenWhole(aNode("a", "1", "10.244.2.0/24")), nil
		}
		return seenWhole(aNode("b", "3", "10.244.3.0/24")), nil
	}, func() { changed <- struct{}{} })
	go reader.run(t.Context())
	reader.set(aRow("1"))
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatalf("nothing comes after %d reads", reads.Load())
	}
	if nodes, _ := set.snapshot(nobody); len(nodes) != 1 || nodes[0].UID != "b" || len(changed) != 0 {
		t.Errorf("the Nodes are %+v, and %d more changes were told", nodes, len(changed))
	}
}
