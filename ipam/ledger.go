package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// BlockRest is how long a block that was freed is left to the node that had it, should that come back.
const BlockRest = 10 * time.Minute

// MaxBlocks is how many blocks a node may hold: more, its claim has no room for.
const MaxBlocks = 64

// errManyBlocks is the state of a node that may hold no more.
var errManyBlocks = fmt.Errorf("this node holds %d blocks, and may hold no more: a larger blockSize (a smaller number) would do with fewer", MaxBlocks)

// Ledger is what a node knows of pools and of everybody's blocks.
type Ledger struct {
	// Node is the node's name, UID its Node's, and Labels are its Node's.
	Node, UID string
	Labels    labels.Set
	// Cluster are the cluster's pod CIDRs.
	Cluster  []netip.Prefix
	Pools    []Pool
	Blocks   []Block
	Reserved []netip.Prefix
	// Gone are blocks that were freed and are no more, and since when.
	Gone map[netip.Prefix]time.Time
	Now  time.Time
	// Idle is how long a block has nobody's address before it is returned.
	Idle time.Duration
}

// NoBlockError says that a pool has no block that the node could claim, and how its blocks are used.
type NoBlockError struct {
	Pool string
	// Total is how many blocks the pool has, Claimed how many somebody holds, and Resting how many were freed less than BlockRest ago.
	Total            uint64
	Claimed, Resting int
}

// Error implements error.
func (e *NoBlockError) Error() string {
	text := fmt.Sprintf("pool %s has no block left: %d of %d claimed", e.Pool, e.Claimed, e.Total)
	if e.Resting > 0 {
		text += fmt.Sprintf(", %d freed less than %s ago", e.Resting, BlockRest)
	}
	if rest := e.Total - min(e.Total, uint64(e.Claimed+e.Resting)); rest > 0 { //nolint:gosec // counts
		text += fmt.Sprintf(", %d reserved", rest)
	}
	return text
}

// claimable is an error where the node may claim nothing of a pool.
func (l Ledger) claimable(p Pool) error {
	switch {
	case p.Disabled:
		return fmt.Errorf("pool %s is disabled", p.Name)
	case !p.Nodes.Matches(l.Labels):
		return fmt.Errorf("the nodeSelector of pool %s (%s) does not select this node", p.Name, p.Nodes)
	case !slices.ContainsFunc(l.Cluster, func(c netip.Prefix) bool { return c.Bits() <= p.CIDR.Bits() && c.Contains(p.CIDR.Addr()) }):
		return fmt.Errorf("pool %s (%s) is outside the cluster's pod CIDRs", p.Name, p.CIDR)
	case len(l.Own()) >= MaxBlocks:
		return errManyBlocks
	}
	return nil
}

// Own are the blocks of the node's name that are not being given up: that of its mesh address first, and then the oldest.
func (l Ledger) Own() []Block {
	var own []Block
	for _, b := range l.Blocks {
		if b.Node == l.Node && b.Freed.IsZero() {
			own = append(own, b)
		}
	}
	slices.SortFunc(own, Block.compare)
	return own
}

func (l Ledger) pool(name string) (Pool, bool) {
	i := slices.IndexFunc(l.Pools, func(p Pool) bool { return p.Name == name })
	if i < 0 {
		return Pool{}, false
	}
	return l.Pools[i], true
}

// For is a block to claim for what an offer lacks: of the first of its pools that has one.
func (l Ledger) For(o Offer) (Block, error) {
	var errs []error
	for _, name := range o.Pools {
		p, ok := l.pool(name)
		if !ok || o.Fixed.IsValid() && !p.CIDR.Contains(o.Fixed) {
			continue
		}
		b, err := l.next(p, o.Fixed)
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return Block{}, fmt.Errorf("there is no pool %s any more", strings.Join(o.Pools, ", "))
	}
	return Block{}, joined(errs)
}

// next is the next block of a pool, or the one with an address that is asked for.
func (l Ledger) next(p Pool, fixed netip.Addr) (Block, error) {
	if err := l.claimable(p); err != nil {
		return Block{}, err
	}
	var cidr netip.Prefix
	var err error
	if fixed.IsValid() {
		cidr, err = l.exactly(netip.PrefixFrom(fixed, p.BlockSize).Masked())
	} else {
		cidr, err = l.probe(p)
	}
	return Block{CIDR: cidr, Pool: p.Name, Node: l.Node, NodeUID: l.UID}, err
}

// exactly is the block itself, where nobody has it.
func (l Ledger) exactly(cidr netip.Prefix) (netip.Prefix, error) {
	for _, b := range l.Blocks {
		switch {
		case !b.CIDR.Overlaps(cidr):
		case !b.Freed.IsZero():
			return netip.Prefix{}, fmt.Errorf("its block %s was freed by node %s less than %s ago", cidr, b.Node, BlockRest)
		default:
			return netip.Prefix{}, fmt.Errorf("its block %s is held by node %s", cidr, b.Node)
		}
	}
	for gone := range l.Gone {
		if gone.Overlaps(cidr) {
			return netip.Prefix{}, fmt.Errorf("its block %s was freed less than %s ago", cidr, BlockRest)
		}
	}
	return cidr, nil
}

// joined is errors.Join on one line.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return joinedError{errors.Join(errs...)}
}

type joinedError struct{ error }

func (e joinedError) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }

func (e joinedError) Unwrap() error { return e.error }
