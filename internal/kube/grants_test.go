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
	"k8s.io/apimachinery/pkg/types"
)

// aNode is a Node as far as grants go.
func aNode(uid, version string, podCIDRs ...string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n2", UID: types.UID(uid), ResourceVersion: version},
		Spec:       corev1.NodeSpec{PodCIDRs: podCIDRs},
	}
}

// Each step is an event or an answer, and says what the set knows after it, and whether the Node is to be read.
func TestGrantsOfNodes(t *testing.T) {
	const cidr = "10.244.2.0/24"
	list := func(n *corev1.Node) func(*nodeSet) { return func(s *nodeSet) { s.set(seenWhole(n)) } }
	event := func(n *corev1.Node) func(*nodeSet) { return func(s *nodeSet) { s.set(seenMetadata(&n.ObjectMeta)) } }
	answer := func(n *corev1.Node) func(*nodeSet) { return func(s *nodeSet) { s.grant(seenWhole(n)) } }
	gone := func(s *nodeSet) { s.remove("n2") }
	type step struct {
		do    func(*nodeSet)
		grant string
		lacks bool
	}
	for name, steps := range map[string][]step{
		"listed with pod CIDRs": {{list(aNode("a", "1", cidr)), cidr, false}, {event(aNode("a", "2")), cidr, false}},
		"listed without": {
			{list(aNode("a", "1")), "", false}, {event(aNode("a", "2")), "", true}, {answer(aNode("a", "2", cidr)), cidr, false},
		},
		"new": {
			{event(aNode("a", "1")), "", true}, {answer(aNode("a", "1")), "", false}, {event(aNode("a", "1")), "", false},
			{event(aNode("a", "3")), "", true}, {answer(aNode("a", "3", cidr)), cidr, false}, {event(aNode("a", "4")), cidr, false},
		},
		"the answer is newer than the event": {
			{event(aNode("a", "1")), "", true}, {answer(aNode("a", "2", cidr)), cidr, false}, {event(aNode("a", "2")), cidr, false},
		},
		"an empty answer after a newer event": {
			{event(aNode("a", "1")), "", true}, {event(aNode("a", "2")), "", true}, {answer(aNode("a", "1")), "", true},
		},
		"made anew, seen as a deletion": {
			{list(aNode("a", "1", cidr)), cidr, false}, {gone, "", false}, {event(aNode("b", "3")), "", true},
			{answer(aNode("b", "3", "10.244.3.0/24")), "10.244.3.0/24", false},
		},
		"made anew, the deletion unseen": {{list(aNode("a", "1", cidr)), cidr, false}, {event(aNode("b", "3")), "", true}},
		"an answer of the Node before": {
			{event(aNode("b", "3")), "", true}, {answer(aNode("a", "1", cidr)), "", true},
		},
		"an answer for one that is gone":          {{event(aNode("a", "1")), "", true}, {gone, "", false}, {answer(aNode("a", "1", cidr)), "", false}},
		"an answer does not change what is known": {{list(aNode("a", "5", cidr)), cidr, false}, {answer(aNode("a", "4")), cidr, false}},
		"a list does": { // etcd was restored from a snapshot
			{list(aNode("a", "5", cidr)), cidr, false}, {list(aNode("a", "4", "10.244.3.0/24")), "10.244.3.0/24", false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			set := &nodeSet{ownName: "n1"}
			for i, step := range steps {
				step.do(set)
				grant := ""
				if nodes, _ := set.snapshot(nobody); len(nodes) > 0 && len(nodes[0].Grants) > 0 {
					grant = nodes[0].Grants[0].String()
				}
				if grant != step.grant || set.lacks("n2") != step.lacks {
					t.Errorf("step %d: grant %q, lacks %v; want %q and %v", i+1, grant, set.lacks("n2"), step.grant, step.lacks)
				}
			}
		})
	}
}

func TestMalformedGrantsStayTold(t *testing.T) {
	set := &nodeSet{}
	set.set(seenWhole(aNode("a", "1", "10.244.2.7/24")))
	_, lacks := set.set(seenMetadata(&aNode("a", "2").ObjectMeta))
	if nodes, _ := set.snapshot(nobody); nodes[0].Malformed == "" || lacks {
		t.Errorf("the Node is %+v and is to be read again: %v", nodes[0], lacks)
	}
}

// TestGrantsAreReadUntilTheyAreThere: reading fails, finds none, and then some.
func TestGrantsAreReadUntilTheyAreThere(t *testing.T) {
	set := &nodeSet{ownName: "n1"}
	var reads atomic.Int32
	changed := make(chan struct{}, 10)
	answered := make(chan struct{}, 10)
	reader := newGrantReader(set, func(context.Context, string) (*seenNode, error) {
		defer func() { answered <- struct{}{} }()
		switch reads.Add(1) {
		case 1:
			return nil, apierrors.NewServiceUnavailable("a test")
		case 2:
			return nil, errors.New("no connection")
		case 3:
			return seenWhole(aNode("a", "1")), nil
		default:
			return seenWhole(aNode("a", "2", "10.244.2.0/24")), nil
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
	reader.set(seenMetadata(&aNode("a", "1").ObjectMeta))
	for range 3 {
		await(answered)
	}
	reader.set(seenMetadata(&aNode("a", "2").ObjectMeta))
	await(changed)
	if nodes, _ := set.snapshot(nobody); len(nodes[0].Grants) != 1 || reads.Load() != 4 {
		t.Errorf("grants %v after %d reads", nodes[0].Grants, reads.Load())
	}
	if len(changed) != 0 {
		t.Error("what is no change is told as one")
	}
}
