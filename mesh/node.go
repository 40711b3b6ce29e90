package mesh

import (
	"net/netip"
	"slices"
	"time"
)

// Fields is what Warren reads of a Kubernetes Node, as it stands in the API.
type Fields struct {
	Name    string
	UID     string
	Created time.Time
	// Annotations may hold more than ours.
	Annotations map[string]string
	// PodCIDRs is spec.podCIDRs.
	PodCIDRs []string
}

// Node is a Kubernetes Node as the mesh sees it: its grant and its claim.
type Node struct {
	Name string
	// UID and Created order the nodes where grants or keys collide: the older one holds.
	UID     string
	Created time.Time
	// Grants are the pod CIDRs that somebody else gave the node, masked.
	Grants []netip.Prefix
	// Claim is what the node's own agent published.
	Claim Claim
	// Malformed says what cannot be read; such a node is left out. Empty when all is well.
	Malformed string
}

// ParseNode reads a Node. What cannot be read is told in Malformed, never by an error: one bad Node is no reason to stop.
func ParseNode(f Fields) Node {
	n := Node{Name: f.Name, UID: f.UID, Created: f.Created}
	grants, err := parsePrefixes("spec.podCIDRs", f.PodCIDRs)
	if err != nil {
		n.Malformed = err.Error()
		return n
	}
	claim, err := ParseClaim(f.Annotations)
	if err != nil {
		n.Malformed = err.Error()
		return n
	}
	n.Grants, n.Claim = grants, claim
	return n
}

// Equal says whether two nodes are the same in everything that the mesh reads.
func (n Node) Equal(o Node) bool {
	return n.Name == o.Name && n.UID == o.UID && n.Created.Equal(o.Created) && n.Malformed == o.Malformed &&
		slices.Equal(n.Grants, o.Grants) && n.Claim.Equal(o.Claim)
}

// older orders nodes by who holds what both want: creation time, then UID.
func older(a, b Node) int {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	switch {
	case a.UID < b.UID:
		return -1
	case a.UID > b.UID:
		return 1
	}
	return 0
}
