package agent

import (
	"context"
	"errors"
	"hash/fnv"
	"io/fs"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/blocks"
	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/ipam"
)

// How long a pool's counters are wrong before they are put right: by a node that changed them, and by any other, each after another time.
const (
	countOwn   = 2 * time.Second
	countAny   = 5 * time.Minute
	countApart = 10 * time.Minute
)

// holdings are the node's blocks of pools, as the agent keeps them; without a keeper where its addresses come from its pod CIDRs.
type holdings struct {
	keeper *blocks.Keeper
	disk   *checkpoint.SupplyStore
	loop   *loop.Runner
	// running says that the API server has told of everything once, and the loop runs.
	running atomic.Bool
	// waiting says that a reconcile waits for what the loop does.
	waiting atomic.Bool
	// changed are the pools whose counters this node has changed, and when. Only the loop uses it. recount triggers the loop for them.
	changed map[string]time.Time
	recount *time.Timer
	problem problem
}

// openBlocks begins with what is on disk.
func (a *Agent) openBlocks() {
	if !a.config.Pools {
		return
	}
	h := &a.holdings
	h.disk, h.changed = checkpoint.NewSupply(a.config.StateDir, a.config.NodeName), map[string]time.Time{}
	supply, err := h.disk.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.logger.Warn("what was known of pools is not used; the API server says it", zap.Error(err))
	}
	h.loop = loop.New(a.tendBlocks, loop.Options{
		Min: 20 * time.Millisecond, RetryMin: 200 * time.Millisecond, RetryMax: 15 * time.Second, Max: min(blocks.Interval, a.config.BlockIdle), OnResult: a.blocksTended,
	})
	h.recount = time.AfterFunc(countOwn, h.loop.Trigger)
	leases := blocks.Leases(unknownLeases{})
	if a.residents.leases != nil {
		leases = a.residents.leases
	}
	h.keeper = blocks.New(supply, blocks.Options{
		API: a.kube, Leases: leases, Trigger: h.loop.Trigger, OnChange: a.blockChanged,
		Idle:  a.config.BlockIdle,
		Known: func() ipam.Ledger { return a.ledger(a.nodes.Snapshot()) },
		Mesh:  func() []netip.Addr { return a.Plan().Guard.Mesh },
	})
}

// ledger is what the API server says of pools and blocks.
func (a *Agent) ledger(s kube.Snapshot) ipam.Ledger {
	return ipam.Ledger{
		Node: a.config.NodeName, UID: s.Own.UID, Labels: s.Own.Labels, Cluster: a.config.ClusterCIDRs,
		Pools: s.Pools, Blocks: s.Blocks, Reserved: s.Reservations,
	}
}

// tendBlocks does what is to be done about the node's blocks, and keeps on disk what there is.
func (a *Agent) tendBlocks(ctx context.Context) error {
	h := &a.holdings
	h.running.Store(true)
	err := h.keeper.Tend(ctx)
	if h.waiting.Swap(false) {
		a.reconcileLoop.Trigger()
	}
	return errors.Join(err, h.disk.Save(h.keeper.Held()), a.countBlocks(ctx))
}

func (a *Agent) blockChanged(what string, b ipam.Block) {
	a.holdings.changed[b.Pool] = time.Now()
	a.logger.Info(what+" a block", zap.Stringer("block", b.CIDR), zap.String("pool", b.Pool), zap.Bool("meshAddress", b.MeshAddress),
		zap.String("node", b.Node))
}

// countBlocks puts the counters of pools right: soon where this node has changed them, and else where nobody who did is there any more.
func (a *Agent) countBlocks(ctx context.Context) error {
	h := &a.holdings
	wrong, long := a.nodes.Miscounted(0), a.nodes.Miscounted(countAny+apart(a.config.NodeName, countApart))
	var errs []error
	for pool, status := range a.nodes.Miscounted(countOwn) {
		_, own := h.changed[pool]
		if _, late := long[pool]; own || late {
			errs = append(errs, a.kube.UpdatePoolStatus(ctx, pool, status))
		}
	}
	for pool, at := range h.changed { // until it was told of, and is right
		if _, ok := wrong[pool]; !ok && time.Since(at) > countOwn {
			delete(h.changed, pool)
		}
	}
	if len(h.changed) > 0 {
		h.recount.Reset(countOwn)
	}
	return errors.Join(errs...)
}

// apart is a part of a time that is another for each node.
func apart(node string, of time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node)) // never fails
	return of * time.Duration(h.Sum32()%1000) / 1000
}

// blocksTended tells of failures once when they begin or change, and of their end.
func (a *Agent) blocksTended(_ time.Duration, err error) {
	switch began, ended := a.holdings.problem.update(err); {
	case began:
		a.logger.Error("what is to be done about this node's blocks failed; what it has stays in use, and this is retried", zap.Error(err))
	case ended:
		a.logger.Info("what is to be done about this node's blocks is done again")
	}
}

// meshAddresses are what the node's mesh addresses are by its blocks; nil where they follow from its pod CIDRs.
func (a *Agent) meshAddresses(s kube.Snapshot) []netip.Addr {
	if a.holdings.keeper == nil {
		return nil
	}
	addrs := []netip.Addr{}
	for _, b := range a.ledger(s).MeshBlocks() {
		addrs = append(addrs, b.CIDR.Addr().Next())
	}
	return addrs
}

// unsettled says that blocks which the mesh carries are about to be the node's again: its Node was made anew, and the API server has not
// told of the last of them. Until then the kernel keeps what it has.
func (a *Agent) unsettled(s kube.Snapshot) bool {
	keeper := a.holdings.keeper
	if keeper == nil {
		return false
	}
	carried := a.Plan().Guard.Own
	for _, held := range keeper.Held().Blocks {
		// They are in order: a cluster has thousands, and every reconcile looks.
		at, found := slices.BinarySearchFunc(s.Blocks, held.CIDR, func(b ipam.Block, cidr netip.Prefix) int { return b.CIDR.Compare(cidr) })
		told := found && s.Blocks[at].Node == a.config.NodeName && s.Blocks[at].NodeUID == s.Own.UID && s.Blocks[at].Freed.IsZero()
		if slices.Contains(carried, held.CIDR) && !told {
			a.holdings.waiting.Store(true)
			a.holdings.loop.Trigger()
			return true
		}
	}
	return false
}

// unknownLeases are those of a node whose leases cannot be read: every block may be in use, and none is short of addresses.
type unknownLeases struct{}

func (unknownLeases) Leases() []ipam.Lease { return nil }

func (unknownLeases) Uses(source ipam.Source, _ time.Time) ([]ipam.Use, error) {
	offers, err := source.Offers(ipam.Request{})
	var uses []ipam.Use
	for _, o := range offers {
		for _, part := range o.Blocks {
			uses = append(uses, ipam.Use{Prefix: part.Prefix, Pool: part.Pool, Size: 1 << 16, Leased: 1})
		}
	}
	return uses, err
}

func (unknownLeases) Forget([]netip.Prefix, time.Time) {}
