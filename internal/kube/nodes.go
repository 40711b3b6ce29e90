package kube

import (
	"iter"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// nodeSet is all Nodes, each parsed once for each event.
type nodeSet struct {
	ownName string

	mu     sync.Mutex // guards all below
	byName map[string]*heldNode
	own    Own
	// sorted is byName in order, as it was last asked for, and stale what has changed since. It is never changed once made.
	sorted []mesh.Node
	stale  map[string]struct{}
	// rekeyed says that anybody may hold another key by now.
	rekeyed bool
}

// heldNode is one Node: what is known of its metadata, and of its pod CIDRs, which are not always read together.
type heldNode struct {
	seen   *seenNode
	grants *grants
}

func (h *heldNode) node() mesh.Node { return h.seen.with(h.grants) }

// lacks says whether there may be pod CIDRs that are not known: they are read where the Node is new, and where it had none and has
// changed.
func (h *heldNode) lacks() bool {
	return h.grants == nil || h.grants.none && h.grants.version != h.seen.ResourceVersion
}

// set takes over a Node that is not the own, and says whether anything that we read is different now, and whether its pod CIDRs
// are to be read.
func (s *nodeSet) set(n *seenNode) (changed, lacks bool) {
	if n.Name == s.ownName {
		return false, false // it is watched on its own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := &heldNode{seen: n, grants: n.grants}
	if old, ok := s.byName[n.Name]; ok && now.grants == nil && old.seen.UID == n.UID {
		now.grants = old.grants
	}
	return s.hold(now), now.lacks()
}

// lacks says whether the pod CIDRs of a Node are to be read.
func (s *nodeSet) lacks(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.byName[name]
	return ok && held.lacks()
}

// grant takes the pod CIDRs over from a Node that was read whole, and says whether there are any. Those that are known stay, and so
// does everything of a Node that was made anew meanwhile: its events tell of it.
func (s *nodeSet) grant(whole *seenNode) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.byName[whole.Name]
	if !ok || held.seen.UID != whole.UID || held.grants != nil && !held.grants.none {
		return false
	}
	s.hold(&heldNode{seen: held.seen, grants: whole.grants})
	return !whole.grants.none
}

// setOwn takes over the own Node, stripped, and says whether anything that we read is different now.
func (s *nodeSet) setOwn(node *corev1.Node) bool {
	seen, own := seenWhole(node), readOwn(node)
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := !own.Equal(s.own)
	s.own = own
	return s.hold(&heldNode{seen: seen, grants: seen.grants}) || changed
}

// hold keeps a Node and says whether it is different now. mu is held.
func (s *nodeSet) hold(now *heldNode) bool {
	name := now.seen.Name
	old, ok := s.byName[name]
	if s.byName == nil {
		s.byName, s.stale = map[string]*heldNode{}, map[string]struct{}{}
	}
	s.byName[name] = now
	if ok && old.node().Equal(now.node()) {
		return false
	}
	s.stale[name] = struct{}{}
	return true
}

// remove forgets a Node that is not the own and says whether it was there.
func (s *nodeSet) remove(name string) bool {
	if name == s.ownName {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop(name)
}

// removeOwn forgets the own Node and says whether it was there.
func (s *nodeSet) removeOwn(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = Own{}
	return s.drop(name)
}

// drop forgets a Node and says whether it was there. mu is held.
func (s *nodeSet) drop(name string) bool {
	if _, ok := s.byName[name]; !ok {
		return false
	}
	delete(s.byName, name)
	s.stale[name] = struct{}{}
	return true
}

// outdated makes the next snapshot ask anew who holds which key.
func (s *nodeSet) outdated() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rekeyed = true
}

// snapshot is all Nodes, with whom holder says to have their keys' NodeKeys.
func (s *nodeSet) snapshot(holder func(identity.PublicKey) string) ([]mesh.Node, Own) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stale) == 0 && !s.rekeyed {
		return slices.Clip(s.sorted), s.own
	}
	if len(s.stale) > len(s.byName)/16 {
		s.sorted = slices.SortedFunc(s.all(), func(a, b mesh.Node) int { return strings.Compare(a.Name, b.Name) })
		s.rekeyed = true
	} else {
		s.sorted = s.updated(holder)
	}
	if s.rekeyed {
		for i := range s.sorted {
			s.sorted[i].KeyHolder = holder(s.sorted[i].Claim.PublicKey)
		}
	}
	clear(s.stale)
	s.rekeyed = false
	return slices.Clip(s.sorted), s.own
}

// all are the Nodes in no order.
func (s *nodeSet) all() iter.Seq[mesh.Node] {
	return func(yield func(mesh.Node) bool) {
		for _, held := range s.byName {
			if !yield(held.node()) {
				return
			}
		}
	}
}

// updated is sorted with what is stale put right: one Node that changed is not worth sorting thousands.
func (s *nodeSet) updated(holder func(identity.PublicKey) string) []mesh.Node {
	sorted := make([]mesh.Node, len(s.sorted), len(s.sorted)+len(s.stale))
	copy(sorted, s.sorted)
	for name := range s.stale {
		at, found := slices.BinarySearchFunc(sorted, name, func(n mesh.Node, name string) int { return strings.Compare(n.Name, name) })
		held, ok := s.byName[name]
		if !ok {
			if found {
				sorted = slices.Delete(sorted, at, at+1)
			}
			continue
		}
		node := held.node()
		node.KeyHolder = holder(node.Claim.PublicKey)
		if found {
			sorted[at] = node
		} else {
			sorted = slices.Insert(sorted, at, node)
		}
	}
	return sorted
}
