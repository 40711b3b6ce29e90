package kube

import (
	"maps"
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
	byName map[string]mesh.Node
	own    Own
	// sorted is byName in order, made when it is asked for and nil when it is out of date. It is never changed once made.
	sorted []mesh.Node
}

// set takes over a stripped Node and says whether anything that we read is different now.
func (s *nodeSet) set(node *corev1.Node) bool {
	parsed := mesh.ParseNode(mesh.Fields{
		Name:        node.Name,
		UID:         string(node.UID),
		Created:     node.CreationTimestamp.Time,
		Annotations: node.Annotations,
		PodCIDRs:    node.Spec.PodCIDRs,
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	if node.Name == s.ownName {
		if own := readOwn(node); !own.Equal(s.own) {
			s.own, changed = own, true
		}
	}
	if old, ok := s.byName[node.Name]; ok && old.Equal(parsed) {
		return changed
	}
	if s.byName == nil {
		s.byName = map[string]mesh.Node{}
	}
	s.byName[node.Name], s.sorted = parsed, nil
	return true
}

// remove forgets a Node and says whether it was there.
func (s *nodeSet) remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == s.ownName {
		s.own = Own{}
	}
	if _, ok := s.byName[name]; !ok {
		return false
	}
	delete(s.byName, name)
	s.sorted = nil
	return true
}

// outdated makes the next snapshot ask anew who holds which key.
func (s *nodeSet) outdated() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sorted = nil
}

// snapshot is all Nodes, with whom holder says to have their keys' NodeKeys.
func (s *nodeSet) snapshot(holder func(identity.PublicKey) string) ([]mesh.Node, Own) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted == nil {
		s.sorted = slices.SortedFunc(maps.Values(s.byName), func(a, b mesh.Node) int { return strings.Compare(a.Name, b.Name) })
		for i := range s.sorted {
			s.sorted[i].KeyHolder = holder(s.sorted[i].Claim.PublicKey)
		}
	}
	return slices.Clip(s.sorted), s.own
}
