package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// Holder is a node as far as it matters for whether it holds blocks.
type Holder struct {
	Name, UID string
	Labels    labels.Set
}

// Doubt is a block that does not count as its node's, and why.
type Doubt struct {
	CIDR netip.Prefix
	Why  string
}

// Believe are those of a node's blocks that count, and doubts the others: what admission could not see of a claim, or was not there to see.
// pools are those that count, by name. blocks all name the node.
//
// The block of the node's mesh address comes first, and then the older ones: the order of the blocks that a node has never changes, but
// where it takes them back, and then the first one stays the first.
//
// A block that is being deleted counts for as long as it is owned by the node as it is: somebody deleted it by mistake, the node claims it
// anew, and until then its pods' traffic goes on. One of a Node that was deleted does not: the Node of that name is another.
func Believe(holder Holder, blocks []Block, pools map[string]Pool) (held []Block, doubts []Doubt) {
	for _, b := range blocks {
		if why := doubt(holder, b, pools); why != "" {
			doubts = append(doubts, Doubt{CIDR: b.CIDR, Why: why})
		} else {
			held = append(held, b)
		}
	}
	slices.SortFunc(held, Block.compare)
	slices.SortFunc(doubts, func(a, b Doubt) int { return a.CIDR.Compare(b.CIDR) })
	return held, doubts
}

// doubt says why a block does not count; empty where it does.
func doubt(holder Holder, b Block, pools map[string]Pool) string {
	pool, ok := pools[b.Pool]
	switch {
	case b.Node != holder.Name:
		return "it is of node " + b.Node
	case b.NodeUID != holder.UID:
		return fmt.Sprintf("it is owned by the Node with UID %q, and this one has %q", b.NodeUID, holder.UID)
	case !ok:
		return fmt.Sprintf("there is no IPPool %q, or it does not count", b.Pool)
	case !pool.holds(b.CIDR):
		return fmt.Sprintf("it is no block of IPPool %s, which is %s in blocks of /%d", b.Pool, pool.CIDR, pool.BlockSize)
	case !pool.Nodes.Matches(holder.Labels):
		return fmt.Sprintf("IPPool %s is for nodes with %s", b.Pool, pool.Nodes)
	}
	return ""
}

// holds says whether a prefix is a whole block of the pool.
func (p Pool) holds(block netip.Prefix) bool {
	return block.IsValid() && block == block.Masked() && block.Bits() == p.BlockSize &&
		block.Addr().BitLen() == p.CIDR.Addr().BitLen() && p.CIDR.Contains(block.Addr()) && p.CIDR.Bits() <= p.BlockSize
}

// compare orders the blocks of one node. The CIDR decides between those of one second.
func (b Block) compare(o Block) int {
	if b.MeshAddress != o.MeshAddress {
		if b.MeshAddress {
			return -1
		}
		return 1
	}
	return cmp.Or(b.Created.Compare(o.Created), b.CIDR.Compare(o.CIDR))
}
