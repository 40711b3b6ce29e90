package policy

import (
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// node is a Node, to which only selectors of nodes look.
type node struct {
	owner
	labels labels.Set
}

// SetNode adds or changes a node.
func (x *Index) SetNode(n Node) {
	addresses := slices.SortedFunc(slices.Values(n.Addresses), netip.Addr.Compare)
	addresses = slices.Compact(addresses)
	known := x.nodes[n.Name]
	if known == nil {
		known = &node{}
		x.nodes[n.Name] = known
	} else if slices.Equal(known.addresses, addresses) && maps.Equal(known.labels, n.Labels) {
		return
	}
	x.withdrawNode(known)
	known.addresses, known.labels = addresses, n.Labels
	for s := range x.nodeSelectors {
		if x.selects(s.labels, known.labels) {
			s.nodes[known] = struct{}{}
			s.add(&known.owner)
		}
	}
}

// DeleteNode makes the node nobody's peer.
func (x *Index) DeleteNode(name string) {
	if known := x.nodes[name]; known != nil {
		x.withdrawNode(known)
		delete(x.nodes, name)
	}
}

func (x *Index) withdrawNode(n *node) {
	for s := range x.nodeSelectors {
		if _, selected := s.nodes[n]; selected {
			delete(s.nodes, n)
			s.remove(&n.owner)
		}
	}
}
