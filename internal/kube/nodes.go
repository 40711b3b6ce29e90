package kube

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// nodeSet is all Nodes, each parsed once for each event.
type nodeSet struct {
	ownName string
	sight   sight

	mu     sync.Mutex // guards all below
	byName map[string]*heldNode
	own    Own
	// sorted is byName in order, as it was last asked for, and stale what has changed since. Neither it nor what it points to is changed
	// once made: a Node that is as it was is the same pointer.
	sorted []*mesh.Node
	stale  map[string]struct{}
	// rekeyed says that anybody may hold another key by now, and regranted that blocks may count that did not, or the other way round.
	rekeyed, regranted bool
}

// set takes over what was told of a Node that is not the own, and says whether anything that we read is different now, and whether it is
// to be read whole.
func (s *nodeSet) set(n *seenNode) (changed, ask bool) {
	if n.Name == s.ownName {
		return false, false // it is watched on its own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.byName[n.Name].after(n)
	return s.hold(now), now.asked
}

// restored makes all that is held older than whatever comes: the store's resource versions are those of a backup again, and every Node
// would have to be read on its own.
func (s *nodeSet) restored() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, held := range s.byName {
		seen := *held.seen
		seen.ResourceVersion = "1"
		s.byName[name] = &heldNode{seen: &seen, grants: held.grants, asked: held.asked}
	}
}

// lacks says whether a Node's row is of interest: it is to be read whole where it is not known, and where it waits for something.
func (s *nodeSet) lacks(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.byName[name]
	return name != s.ownName && (!held.known() || held.waits())
}

// asked is a Node that is to be read whole; nil where it is not, or not any more.
func (s *nodeSet) asked(name string) *heldNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.byName[name]; held != nil && held.asked {
		return held
	}
	return nil
}

// answer takes over a Node that was read whole after it was asked for, or that was found to be gone (nil), and says whether anything that
// we read is different now. again says that it is not taken over: more was told of the Node meanwhile, and which is newer nobody knows.
func (s *nodeSet) answer(asked *heldNode, whole *seenNode) (changed, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name := asked.seen.Name; {
	case s.byName[name] != asked:
		return false, true
	case whole == nil:
		return s.drop(name), false
	default:
		return s.hold(whole.held()), false
	}
}

// setOwn takes over the own Node and says whether anything that we read is different now.
func (s *nodeSet) setOwn(node *corev1.Node) bool {
	seen, own := s.sight.whole(node), readOwn(node)
	own.Labels = seen.labels
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := !own.Equal(s.own)
	s.own = own
	return s.hold(seen.held()) || changed
}

// hold keeps a Node and says whether anything that we read is different now. mu is held.
func (s *nodeSet) hold(now *heldNode) bool {
	name := now.seen.Name
	old := s.byName[name]
	if s.byName == nil {
		s.byName, s.stale = map[string]*heldNode{}, map[string]struct{}{}
	}
	s.byName[name] = now
	if old.known() == now.known() && (!now.known() || old.node().Equal(*now.node()) && maps.Equal(old.seen.labels, now.seen.labels)) {
		return false
	}
	s.stale[name] = struct{}{}
	return true
}

// remove forgets a Node that is not the own and says whether it was known.
func (s *nodeSet) remove(name string) bool {
	if name == s.ownName {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop(name)
}

// removeOwn forgets the own Node and says whether it was known.
func (s *nodeSet) removeOwn(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = Own{}
	return s.drop(name)
}

// drop forgets a Node and says whether it was known. mu is held.
func (s *nodeSet) drop(name string) bool {
	held := s.byName[name]
	delete(s.byName, name)
	if !held.known() {
		return false
	}
	s.stale[name] = struct{}{}
	return true
}

// settler says what holds of a Node beyond what was read of it.
type settler struct {
	// holder is who has a key's NodeKey.
	holder func(identity.PublicKey) string
	// grants adds a Node's blocks to it, by its labels.
	grants func(*mesh.Node, labels.Set)
}

// settled is a Node that is known as by settles it.
func (by settler) settled(h *heldNode) *mesh.Node {
	node := h.node()
	node.KeyHolder = by.holder(node.Claim.PublicKey)
	by.grants(node, h.seen.labels)
	return node
}

// outdatedKeys makes the next snapshot ask anew who holds which key.
func (s *nodeSet) outdatedKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rekeyed = true
}

// outdatedGrants makes it ask anew which blocks count.
func (s *nodeSet) outdatedGrants() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regranted = true
}

// touched makes it ask both of one Node, which need not be there.
func (s *nodeSet) touched(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName[name].known() {
		s.stale[name] = struct{}{}
	}
}

// snapshot is all Nodes, as by settles them.
func (s *nodeSet) snapshot(by settler) ([]*mesh.Node, Own) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stale) == 0 && !s.rekeyed && !s.regranted {
		return slices.Clip(s.sorted), s.own
	}
	if len(s.stale) > len(s.byName)/16 {
		s.sorted = slices.SortedFunc(s.all(by), func(a, b *mesh.Node) int { return strings.Compare(a.Name, b.Name) })
	} else {
		s.sorted = s.updated(by)
	}
	for i, n := range s.sorted {
		switch {
		case s.regranted:
			s.sorted[i] = same(n, by.settled(s.byName[n.Name]))
		case s.rekeyed:
			s.sorted[i] = heldBy(n, by.holder(n.Claim.PublicKey))
		}
	}
	clear(s.stale)
	s.rekeyed, s.regranted = false, false
	return slices.Clip(s.sorted), s.own
}

// heldBy is a Node whose key has that holder: itself, where it had it before.
func heldBy(n *mesh.Node, holder string) *mesh.Node {
	if n.KeyHolder == holder {
		return n
	}
	again := *n
	again.KeyHolder = holder
	return &again
}

// same is what a Node is now: itself, where it is as it was.
func same(before, now *mesh.Node) *mesh.Node {
	if before.Equal(*now) {
		return before
	}
	return now
}

// all are the Nodes in no order, those that are as they were in sorted the same.
func (s *nodeSet) all(by settler) iter.Seq[*mesh.Node] {
	return func(yield func(*mesh.Node) bool) {
		for _, n := range s.sorted {
			if _, changed := s.stale[n.Name]; !changed && !yield(n) {
				return
			}
		}
		for name := range s.stale {
			if held := s.byName[name]; held.known() && !yield(by.settled(held)) {
				return
			}
		}
	}
}

// updated is sorted with what is stale put right: one Node that changed is not worth sorting thousands.
func (s *nodeSet) updated(by settler) []*mesh.Node {
	sorted := make([]*mesh.Node, len(s.sorted), len(s.sorted)+len(s.stale))
	copy(sorted, s.sorted)
	for name := range s.stale {
		at, found := slices.BinarySearchFunc(sorted, name, func(n *mesh.Node, name string) int { return strings.Compare(n.Name, name) })
		switch held := s.byName[name]; {
		case held.known() && found:
			sorted[at] = same(sorted[at], by.settled(held))
		case held.known():
			sorted = slices.Insert(sorted, at, by.settled(held))
		case found:
			sorted = slices.Delete(sorted, at, at+1)
		}
	}
	return sorted
}
