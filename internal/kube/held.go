package kube

import (
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/warren-mesh/warren/mesh"
)

// heldNode is one Node as far as it is known. It is never changed once it is held.
type heldNode struct {
	seen *seenNode
	// grants are nil until the Node has been read whole. Until then nobody is told of it.
	grants *grants
	// asked says that it is to be read whole.
	asked bool
}

// known says whether there is anything to tell of a Node. One that is not held at all (nil) is not known.
func (h *heldNode) known() bool { return h != nil && h.grants != nil }

// waits says whether a Node that is known has no pod CIDRs or no claim yet: what it lacks may come without the label, from the
// controller-manager, or from an agent that is older than the label.
func (h *heldNode) waits() bool { return h.grants.none || !h.seen.claim.Claim.Published() }

// node is a Node that is known.
func (h *heldNode) node() *mesh.Node { return h.seen.with(h.grants) }

// after is what is held of a Node once a list or a watch has told of it. Rows and claims are two streams, and neither waits for the other,
// nor for what was read meanwhile: what is older than what is held, or of another Node of that name, may be late, or the Node made anew, or
// the store restored. It is not taken over, and the Node is read whole: that decides.
func (h *heldNode) after(n *seenNode) *heldNode {
	switch {
	case n.grants != nil && (!h.known() || !n.olderThan(h.seen)): // of a list
		return n.held()
	case !h.known():
		return &heldNode{seen: n, asked: true}
	case n.isRow():
		if h.waits() && n.ResourceVersion != h.grants.version {
			return h.ask()
		}
		return h
	case n.ResourceVersion == h.seen.ResourceVersion && n.UID == h.seen.UID:
		return h
	case n.UID != h.seen.UID || n.olderThan(h.seen):
		return h.ask()
	default: // pod CIDRs do not change once they are there
		return &heldNode{seen: n, grants: h.grants, asked: h.asked || h.grants.none}
	}
}

// ask is the same, to be read whole. An answer to what was asked before does not count any more.
func (h *heldNode) ask() *heldNode { return &heldNode{seen: h.seen, grants: h.grants, asked: true} }

// olderThan says whether a Node was seen before another of its name, or may have been.
func (n *seenNode) olderThan(o *seenNode) bool {
	order, err := resourceversion.CompareResourceVersion(n.ResourceVersion, o.ResourceVersion)
	return err != nil || order < 0
}
