package mesh

import (
	"cmp"
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
	// Doubts are the blocks that somebody let the node claim, and that do not count. ParseNode does not know them, nor the blocks that do,
	// which are Grants as well.
	Doubts []Doubt
	// Claim is what the node's own agent published.
	Claim Claim
	// KeyHolder is the name of the Node that has the NodeKey of the claimed public key; empty where nobody has. ParseNode does not
	// know it.
	KeyHolder string
	// Malformed says what cannot be read; such a node is no peer. Empty when all is well. What could be read of its grants
	// and its key is still there, and still held against younger nodes: they must not gain by its mistake.
	Malformed string
}

// Doubt is a block that is no grant, and why.
type Doubt struct {
	CIDR netip.Prefix
	Why  string
}

// ParseNode reads a Node. What cannot be read is told in Malformed, never by an error: one bad Node is no reason to stop.
func ParseNode(f Fields) Node {
	n := Node{Name: f.Name, UID: f.UID, Created: f.Created}
	var grantErr, claimErr error
	n.Grants, grantErr = parsePrefixes("spec.podCIDRs", f.PodCIDRs)
	n.Claim, claimErr = ParseClaim(f.Annotations)
	if err := cmp.Or(grantErr, claimErr); err != nil {
		n.Malformed = err.Error()
	}
	return n
}

// Equal says whether two nodes are the same in everything that the mesh reads.
func (n Node) Equal(o Node) bool {
	return n.Name == o.Name && n.UID == o.UID && n.Created.Equal(o.Created) && n.Malformed == o.Malformed &&
		n.KeyHolder == o.KeyHolder && slices.Equal(n.Grants, o.Grants) && slices.Equal(n.Doubts, o.Doubts) && n.Claim.Equal(o.Claim)
}

// older orders nodes by who holds what both want: creation time, then UID. The name settles what the API never gives.
func older(a, b *Node) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Name, b.Name))
}
