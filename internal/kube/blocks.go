package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/ipam"
)

// blockSet is all IPBlocks that are named as they must be.
type blockSet struct {
	// touched is told of the nodes whose blocks changed.
	touched func(node string)

	mu     sync.Mutex // guards all below
	byName map[string]ipam.Block
	byNode map[string]map[netip.Prefix]ipam.Block
	// sorted is byName in the order of the CIDRs, as it was last asked for, and stale what has changed since, by name. It is never changed
	// once made.
	sorted []ipam.Block
	stale  map[string]netip.Prefix
}

// set says whether anything that we read is different now. A block whose name is not its CIDR's counts for nothing: by its name alone
// the API server lets a block be held once.
func (s *blockSet) set(b *v1alpha1.IPBlock) bool {
	if block, err := readBlock(b); err == nil {
		return s.tell(s.put(b.Name, block))
	}
	return s.remove(b.Name)
}

func (s *blockSet) remove(name string) bool { return s.tell(s.drop(name)) }

// tell tells of the nodes whose blocks changed, and says whether there are any. mu is not held: who is told may hold a lock while it asks
// for a node's blocks.
func (s *blockSet) tell(nodes []string) bool {
	for _, node := range nodes {
		s.touched(node)
	}
	return len(nodes) > 0
}

// put keeps a block and returns the nodes whose blocks are others now.
func (s *blockSet) put(name string, block ipam.Block) (nodes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, had := s.byName[name]
	if had && equalBlocks(old, block) {
		return nil
	}
	if had && old.Node != block.Node { // deleted and made anew, and the first of it was missed
		s.forget(old)
		nodes = append(nodes, old.Node)
	}
	if s.byName == nil {
		s.byName, s.byNode, s.stale = map[string]ipam.Block{}, map[string]map[netip.Prefix]ipam.Block{}, map[string]netip.Prefix{}
	}
	if s.byNode[block.Node] == nil {
		s.byNode[block.Node] = map[netip.Prefix]ipam.Block{}
	}
	s.byName[name], s.byNode[block.Node][block.CIDR], s.stale[name] = block, block, block.CIDR
	return append(nodes, block.Node)
}

// drop forgets a block and returns the node that it was of.
func (s *blockSet) drop(name string) (nodes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	block, had := s.byName[name]
	if !had {
		return nil
	}
	delete(s.byName, name)
	s.stale[name] = block.CIDR
	s.forget(block)
	return []string{block.Node}
}

// forget forgets that a node has a block. mu is held.
func (s *blockSet) forget(block ipam.Block) {
	delete(s.byNode[block.Node], block.CIDR)
	if len(s.byNode[block.Node]) == 0 {
		delete(s.byNode, block.Node)
	}
}

// of are the blocks that name a node, in no order.
func (s *blockSet) of(node string) []ipam.Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.byNode[node]))
}

// snapshot is all blocks.
func (s *blockSet) snapshot() []ipam.Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.stale) > len(s.byName)/16:
		s.sorted = slices.SortedFunc(maps.Values(s.byName), func(a, b ipam.Block) int { return a.CIDR.Compare(b.CIDR) })
	case len(s.stale) > 0:
		s.sorted = s.updated()
	}
	clear(s.stale)
	return slices.Clip(s.sorted)
}

// updated is sorted with what is stale put right.
func (s *blockSet) updated() []ipam.Block {
	sorted := make([]ipam.Block, len(s.sorted), len(s.sorted)+len(s.stale))
	copy(sorted, s.sorted)
	for name, cidr := range s.stale {
		at, found := slices.BinarySearchFunc(sorted, cidr, func(b ipam.Block, cidr netip.Prefix) int { return b.CIDR.Compare(cidr) })
		switch block, there := s.byName[name]; {
		case there && found:
			sorted[at] = block
		case there:
			sorted = slices.Insert(sorted, at, block)
		case found:
			sorted = slices.Delete(sorted, at, at+1)
		}
	}
	return sorted
}

func readBlock(b *v1alpha1.IPBlock) (ipam.Block, error) {
	cidr, err := netip.ParsePrefix(b.Spec.CIDR)
	if err != nil || cidr != cidr.Masked() || v1alpha1.IPBlockName(cidr) != b.Name {
		return ipam.Block{}, fmt.Errorf("IPBlock %s: its name is not that of its cidr %.64q", b.Name, b.Spec.CIDR)
	}
	return ipam.Block{
		CIDR: cidr, Pool: b.Spec.Pool, Node: b.Spec.NodeName, NodeUID: ownerUID(&b.ObjectMeta), MeshAddress: b.Spec.MeshAddress,
		Created: b.CreationTimestamp.Time, Freed: freedAt(&b.ObjectMeta),
	}, nil
}

// ownerUID is that of the Node that owns an object; empty unless it alone does.
func ownerUID(m *metav1.ObjectMeta) string {
	if len(m.OwnerReferences) != 1 || m.OwnerReferences[0].APIVersion != "v1" || m.OwnerReferences[0].Kind != "Node" {
		return ""
	}
	return string(m.OwnerReferences[0].UID)
}

// freedAt is when an object's deletion began; zero where it has not.
func freedAt(m *metav1.ObjectMeta) time.Time {
	if m.DeletionTimestamp == nil {
		return time.Time{}
	}
	return m.DeletionTimestamp.Time
}

func equalBlocks(a, b ipam.Block) bool {
	if !a.Created.Equal(b.Created) || !a.Freed.Equal(b.Freed) {
		return false
	}
	a.Created, a.Freed = b.Created, b.Freed
	return a == b
}
