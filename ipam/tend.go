package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// scarce is how many free addresses of a pool a node has at least before it claims one more block in advance; of small blocks, a quarter
// of one's.
const scarce = 8

// Tenancy is how a node uses its blocks.
type Tenancy struct {
	// Leased are the addresses of its pods, and Mesh its mesh addresses as they are in use.
	Leased, Mesh []netip.Addr
	// Uses are those of its blocks, by block, and Empty since when those are without any that are.
	Uses  map[netip.Prefix]Use
	Empty map[netip.Prefix]time.Time
}

// Work is what a node has to do about blocks. What is in use comes first.
type Work struct {
	// Renew are the node's, but of its Node before it was made anew.
	Renew []Block
	// Retake are the node's, and being given up though it did not return them: their names are let go and claimed anew.
	Retake []Block
	// Claim are nobody's.
	Claim []Block
	// Return are the node's.
	Return []Block
	// LetGo are being given up, and nobody waits for them any more.
	LetGo []Block
	// Problems are why something that is needed cannot be had.
	Problems []error
}

// Work says what is to be done.
func (l Ledger) Work(t Tenancy) Work {
	var w Work
	for _, b := range l.Blocks {
		switch freed := !b.Freed.IsZero(); {
		case b.Node != l.Node:
			if freed && l.Now.Sub(b.Freed) >= BlockRest {
				w.LetGo = append(w.LetGo, b)
			}
		case freed && (b.NodeUID != l.UID || t.uses(b.CIDR)):
			l.retake(&w, b)
		case freed:
			w.LetGo = append(w.LetGo, b)
		case b.NodeUID != l.UID:
			b.NodeUID = l.UID
			w.Renew = append(w.Renew, b)
		}
	}
	l.recover(&w, t)
	mesh := l.mesh(&w)
	l.advance(&w, t)
	l.giveBack(&w, t, mesh)
	return w
}

// uses says whether a pod or the mesh has an address of the block.
func (t Tenancy) uses(block netip.Prefix) bool {
	return slices.ContainsFunc(t.Leased, block.Contains) || slices.ContainsFunc(t.Mesh, block.Contains)
}

// retake takes a block back if it could be claimed: else its name is better kept.
func (l Ledger) retake(w *Work, b Block) {
	p, ok := l.pool(b.Pool)
	err := fmt.Errorf("there is no pool %s", b.Pool)
	if ok {
		err = l.claimable(p)
	}
	if err != nil {
		w.Problems = append(w.Problems, fmt.Errorf("block %s was freed, though not by this node, and cannot be taken back: %w", b.CIDR, err))
		return
	}
	w.Retake = append(w.Retake, Block{CIDR: b.CIDR, Pool: b.Pool, Node: l.Node, NodeUID: l.UID, MeshAddress: b.MeshAddress})
}

// recover claims blocks of addresses that are in use here, and are in nobody's block: one that was freed and is no more, or that the node
// was about to take back when it went down.
func (l Ledger) recover(w *Work, t Tenancy) {
	for _, a := range slices.Concat(t.Mesh, t.Leased) {
		i := slices.IndexFunc(l.Pools, func(p Pool) bool { return p.CIDR.Contains(a) })
		if i < 0 || l.claimable(l.Pools[i]) != nil {
			continue
		}
		p := l.Pools[i]
		cidr := netip.PrefixFrom(a, p.BlockSize).Masked()
		claimed := func(b Block) bool { return b.CIDR.Overlaps(cidr) }
		at := slices.IndexFunc(l.Blocks, claimed)
		switch {
		case at >= 0 && l.Blocks[at].Node != l.Node:
			err := fmt.Errorf("%s is in use here, and its block %s is held by node %s by now", a, cidr, l.Blocks[at].Node)
			w.Problems = append(w.Problems, err)
		case at < 0 && !slices.ContainsFunc(w.Claim, claimed):
			w.Claim = append(w.Claim, Block{
				CIDR: cidr, Pool: p.Name, Node: l.Node, NodeUID: l.UID, MeshAddress: slices.ContainsFunc(t.Mesh, cidr.Contains),
			})
		}
	}
}

// MeshBlocks are the blocks of which the node has its mesh addresses, one of each family.
func (l Ledger) MeshBlocks() []Block { return MeshBlocks(l.Own()) }

// MeshBlocks are those of a node's blocks, in the order of Believe, of which it has its mesh addresses: one of each family.
func MeshBlocks(held []Block) []Block {
	var mesh []Block
	for _, b := range held {
		if b.MeshAddress && !slices.ContainsFunc(mesh, sameFamily(b)) {
			mesh = append(mesh, b)
		}
	}
	slices.SortFunc(mesh, func(a, b Block) int { return a.CIDR.Compare(b.CIDR) })
	return mesh
}

func sameFamily(a Block) func(Block) bool {
	return func(b Block) bool { return a.CIDR.Addr().Is4() == b.CIDR.Addr().Is4() }
}

// mesh has the node claim what it lacks for its mesh addresses.
func (l Ledger) mesh(w *Work) []Block {
	held := l.MeshBlocks()
	for _, is4 := range []bool{true, false} {
		ofFamily := func(b Block) bool { return b.MeshAddress && b.CIDR.Addr().Is4() == is4 }
		if !slices.ContainsFunc(l.Cluster, func(p netip.Prefix) bool { return p.Addr().Is4() == is4 }) ||
			slices.ContainsFunc(slices.Concat(held, w.Retake, w.Claim), ofFamily) {
			continue
		}
		pools := l.meshPools(is4)
		if len(pools) == 0 {
			w.Problems = append(w.Problems, fmt.Errorf("no %s pool is for mesh addresses: want an IPPool that allows MeshAddresses", familyName(is4)))
			continue
		}
		b, err := l.For(Offer{Pools: pools})
		if err != nil {
			w.Problems = append(w.Problems, fmt.Errorf("claiming a block for the %s mesh address: %w", familyName(is4), err))
			continue
		}
		b.MeshAddress = true
		w.Claim = append(w.Claim, b)
	}
	return held
}

// meshPools are the names of a family's pools that may be for mesh addresses; those that are for all namespaces come first.
func (l Ledger) meshPools(is4 bool) []string {
	pools := slices.DeleteFunc(slices.Clone(l.Pools), func(p Pool) bool { return !p.MeshAddresses || p.CIDR.Addr().Is4() != is4 })
	slices.SortFunc(pools, func(a, b Pool) int {
		switch {
		case (a.Namespaces == nil) == (b.Namespaces == nil):
			return strings.Compare(a.Name, b.Name)
		case a.Namespaces == nil:
			return -1
		}
		return 1
	})
	var names []string
	for _, p := range pools {
		names = append(names, p.Name)
	}
	return names
}

// room is how many addresses are free of those of the node's blocks that are of a pool, and whether any is leased.
func (l Ledger) room(t Tenancy, pool string, without netip.Prefix) (free int, used bool) {
	for _, b := range l.Own() {
		if b.Pool == pool && b.CIDR != without {
			free += t.Uses[b.CIDR].Free()
			used = used || t.Uses[b.CIDR].Leased > 0
		}
	}
	return free, used
}

// few is how many free addresses of a pool are too few.
func few(p Pool) int {
	return int(min(scarce, (usable(block(p, 0))+3)/4))
}

// advance claims one more block of each pool that pods here use, before it is used up. That there is none is said once a pod needs it.
func (l Ledger) advance(w *Work, t Tenancy) {
	for _, p := range l.Pools {
		if free, used := l.room(t, p.Name, netip.Prefix{}); !p.Pods || !used || free >= few(p) {
			continue
		}
		if b, err := l.next(p, netip.Addr{}); err == nil && !slices.ContainsFunc(w.Claim, func(c Block) bool { return c.Pool == p.Name }) {
			w.Claim = append(w.Claim, b)
		}
	}
}

// giveBack returns blocks that have been empty for long: where the node's others of that pool are no reason to claim it again at once, or
// where there are no others: then no pod here needs the pool.
func (l Ledger) giveBack(w *Work, t Tenancy, mesh []Block) {
	own := l.Own()
	slices.SortStableFunc(own, func(a, b Block) int { return cmp.Compare(t.Empty[a.CIDR].Unix(), t.Empty[b.CIDR].Unix()) })
	returned := map[string]bool{} // one of a pool at a time: the next is another decision
	for _, b := range own {
		since, empty := t.Empty[b.CIDR]
		if !empty || t.uses(b.CIDR) || l.Now.Sub(since) < l.Idle || returned[b.Pool] || b.NodeUID != l.UID || slices.Contains(mesh, b) {
			continue
		}
		p, ok := l.pool(b.Pool)
		free, used := l.room(t, b.Pool, b.CIDR)
		if ok && !p.Disabled && used && free < 2*few(p) {
			continue
		}
		returned[b.Pool] = true
		w.Return = append(w.Return, b)
	}
}
