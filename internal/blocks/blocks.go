// Package blocks keeps a node in blocks of pools: it claims what the node and its pods need, takes back what was freed by accident, and
// returns what stays empty. What is to be done ipam says; this does it, and remembers what the API server has not told of yet.
package blocks

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/ipam"
)

// Interval is how often the blocks are looked at, event or not: some become due with time.
const Interval = time.Minute

// unseen is how long what was done is believed without the API server having told of it.
const unseen = 30 * time.Second

// API is where blocks are claimed and returned.
type API interface {
	// ClaimBlock is kube.ErrBlockTaken where another node has the block. One that the node has is made its Node's, and one that it had is
	// taken back.
	ClaimBlock(context.Context, ipam.Block) error
	// ReturnBlock gives up a block of the node's.
	ReturnBlock(context.Context, netip.Prefix) error
	// LetGoBlock lets go of a block that was freed then. One that is gone is no error.
	LetGoBlock(ctx context.Context, block netip.Prefix, freed time.Time) error
}

var _ API = (*kube.Client)(nil)

// Leases are the node's.
type Leases interface {
	Leases() []ipam.Lease
	Uses(ipam.Source, time.Time) ([]ipam.Use, error)
	// Forget is told which blocks the node has.
	Forget([]netip.Prefix, time.Time)
}

// Options are what a Keeper needs.
type Options struct {
	API    API
	Leases Leases
	// Known is what the API server tells: without an UID where the node has no Node. Its Gone, Now and Idle are not used.
	Known func() ipam.Ledger
	// Idle is how long a block is empty before it is returned.
	Idle time.Duration
	// Mesh are the node's mesh addresses in use.
	Mesh func() []netip.Addr
	// Trigger asks for a Tend.
	Trigger func()
	// OnChange is told of each block for which something was done.
	OnChange func(what string, b ipam.Block)
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Keeper keeps one node's blocks. Its methods may be called concurrently, but for Tend.
type Keeper struct {
	options Options

	mu sync.Mutex // guards what follows
	// supply is what there is, carried what of it the mesh carries, and leaving the blocks that are being returned.
	supply  ipam.Supply
	carried []netip.Prefix
	leaving map[netip.Prefix]struct{}
	// demands wait for the next Tend.
	demands []*demand
	// changed is closed when pods can have addresses of other blocks than before.
	changed chan struct{}

	// The rest only Tend uses. claimed and returned are what was done and is not known of yet.
	claimed  map[netip.Prefix]deed
	returned map[netip.Prefix]deed
	// freed are others' blocks that were being given up in what was known last; gone those that are no more.
	freed, gone map[netip.Prefix]time.Time
	empty       map[netip.Prefix]time.Time
}

// deed is what was done about a block, and when.
type deed struct {
	block ipam.Block
	at    time.Time
}

// New is a Keeper that has from before what supply says.
func New(supply ipam.Supply, o Options) *Keeper {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Keeper{
		options: o, supply: supply, leaving: map[netip.Prefix]struct{}{}, changed: make(chan struct{}),
		claimed: map[netip.Prefix]deed{}, returned: map[netip.Prefix]deed{},
		freed: map[netip.Prefix]time.Time{}, gone: map[netip.Prefix]time.Time{}, empty: map[netip.Prefix]time.Time{},
	}
}

// Supply is what pods can be given now: of blocks that the mesh carries and that stay.
func (k *Keeper) Supply() ipam.Supply {
	k.mu.Lock()
	defer k.mu.Unlock()
	usable := k.staying()
	usable.Blocks = slices.DeleteFunc(usable.Blocks, func(b ipam.Block) bool { return !slices.Contains(k.carried, b.CIDR) })
	return usable
}

// Held is all that there is and stays, whether the mesh carries it or not.
func (k *Keeper) Held() ipam.Supply {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.staying()
}

// staying is the supply without what is being returned. mu is held.
func (k *Keeper) staying() ipam.Supply {
	staying := k.supply
	staying.Blocks = slices.DeleteFunc(slices.Clone(staying.Blocks), func(b ipam.Block) bool {
		_, leaving := k.leaving[b.CIDR]
		return leaving
	})
	return staying
}

// Carry is told which prefixes of the node the mesh carries.
func (k *Keeper) Carry(prefixes []netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.Equal(k.carried, prefixes) {
		return
	}
	k.carried = slices.Clone(prefixes)
	k.tell()
}

// tell wakes who waits for other blocks. mu is held.
func (k *Keeper) tell() {
	close(k.changed)
	k.changed = make(chan struct{})
}
