package blocks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/ipam"
)

// errNoNode is why a node without a Node can claim nothing.
var errNoNode = fmt.Errorf("%w: this node's Node does not exist (yet)", ipam.ErrLater)

// Tend does what is to be done now. What it fails at is done by the next one.
func (k *Keeper) Tend(ctx context.Context) error {
	l, demands := k.options.Known(), k.takeDemands()
	if l.UID == "" {
		for _, d := range demands {
			d.met <- answer{err: errNoNode}
		}
		return nil // The Node's event triggers again.
	}
	l.Now, l.Idle = k.options.Now(), k.options.Idle
	k.recall(&l)
	t, err := k.tenancy(&l)
	if err != nil {
		for _, d := range demands {
			d.met <- answer{err: err}
		}
		return err
	}
	w := l.Work(t)
	errs := k.do(ctx, &l, w)
	errs = append(errs, k.meet(ctx, &l, demands))
	k.learn(&l)
	return errors.Join(append(errs, w.Problems...)...)
}

// recall puts into what is known what was done and is not known of yet, and what is known no more.
func (k *Keeper) recall(l *ipam.Ledger) {
	l.Blocks = slices.Clone(l.Blocks)
	known := make(map[netip.Prefix]struct{}, len(l.Blocks))
	freed := map[netip.Prefix]time.Time{}
	for _, b := range l.Blocks {
		known[b.CIDR] = struct{}{}
		delete(k.gone, b.CIDR)
		if !b.Freed.IsZero() && b.Node != l.Node {
			freed[b.CIDR] = b.Freed
		}
	}
	for cidr, at := range k.freed {
		if _, ok := known[cidr]; !ok {
			k.gone[cidr] = at
		}
	}
	k.freed = freed
	maps.DeleteFunc(k.gone, func(_ netip.Prefix, at time.Time) bool { return l.Now.Sub(at) >= ipam.BlockRest })
	l.Gone = k.gone
	for cidr, d := range k.claimed {
		if _, ok := known[cidr]; ok || l.Now.Sub(d.at) > unseen {
			delete(k.claimed, cidr)
			continue
		}
		l.Blocks = append(l.Blocks, d.block)
	}
	for cidr, d := range k.returned {
		if _, ok := known[cidr]; !ok || l.Now.Sub(d.at) > unseen {
			delete(k.returned, cidr)
		}
	}
	l.Blocks = slices.DeleteFunc(l.Blocks, func(b ipam.Block) bool {
		d, ok := k.returned[b.CIDR]
		return ok && b.Node == l.Node && b.Created.Equal(d.block.Created)
	})
}

// tenancy is how the node uses its blocks.
func (k *Keeper) tenancy(l *ipam.Ledger) (ipam.Tenancy, error) {
	t := ipam.Tenancy{Mesh: k.options.Mesh(), Uses: map[netip.Prefix]ipam.Use{}, Empty: k.empty}
	for _, lease := range k.options.Leases.Leases() {
		t.Leased = append(t.Leased, lease.Addresses...)
	}
	uses, err := k.options.Leases.Uses(ipam.Supply{Blocks: l.Own(), Reserved: l.Reserved}.Everything(), l.Now)
	if err != nil {
		return t, err
	}
	for _, u := range uses {
		t.Uses[u.Prefix] = u
		if _, known := k.empty[u.Prefix]; u.Leased > 0 {
			delete(k.empty, u.Prefix)
		} else if !known {
			k.empty[u.Prefix] = l.Now
		}
	}
	maps.DeleteFunc(k.empty, func(p netip.Prefix, _ time.Time) bool {
		_, ok := t.Uses[p]
		return !ok
	})
	return t, nil
}

// do does work, what is in use first, and as much of it as can be done.
func (k *Keeper) do(ctx context.Context, l *ipam.Ledger, w ipam.Work) []error {
	var errs []error
	for _, b := range slices.Concat(w.Renew, w.Retake, w.Claim) {
		if taken, err := k.claim(ctx, l, b); err != nil {
			errs = append(errs, err)
		} else if !taken {
			k.options.Trigger()
		}
	}
	k.leave(l, w.Return)
	for _, b := range w.Return {
		errs = append(errs, k.giveBack(ctx, l, b))
	}
	for _, b := range w.LetGo {
		errs = append(errs, k.done("let go", b, k.options.API.LetGoBlock(ctx, b.CIDR, b.Freed)))
	}
	return errs
}

// claim says whether the block is the node's now; it is not where another was faster.
func (k *Keeper) claim(ctx context.Context, l *ipam.Ledger, b ipam.Block) (bool, error) {
	err := k.options.API.ClaimBlock(ctx, b)
	taken := errors.Is(err, kube.ErrBlockTaken)
	if taken {
		b.Node, b.NodeUID, b.MeshAddress = "", "", false // Whose it is comes with its event.
	} else if err != nil {
		return false, err
	}
	b.Created, b.Freed = l.Now, time.Time{}
	l.Blocks = slices.DeleteFunc(l.Blocks, func(o ipam.Block) bool { return o.CIDR == b.CIDR })
	k.claimed[b.CIDR] = deed{b, l.Now}
	l.Blocks = append(l.Blocks, b)
	if taken {
		return false, nil
	}
	return true, k.done("claimed", b, nil)
}

// leave has no more pods get addresses of blocks that are to be returned; what was to be returned before and is not now is used again.
func (k *Keeper) leave(l *ipam.Ledger, blocks []ipam.Block) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := len(k.leaving)
	clear(k.leaving)
	for _, b := range blocks {
		k.leaving[b.CIDR] = struct{}{}
	}
	for cidr := range k.returned {
		if !slices.ContainsFunc(l.Blocks, func(b ipam.Block) bool { return b.CIDR == cidr }) {
			k.leaving[cidr] = struct{}{}
		}
	}
	if len(k.leaving) < before {
		k.tell()
	}
}

// giveBack returns a block, unless a pod has had an address of it before it was left.
func (k *Keeper) giveBack(ctx context.Context, l *ipam.Ledger, b ipam.Block) error {
	for _, lease := range k.options.Leases.Leases() {
		if slices.ContainsFunc(lease.Addresses, b.CIDR.Contains) {
			return nil // The next one finds it in use.
		}
	}
	if err := k.options.API.ReturnBlock(ctx, b.CIDR); err != nil {
		return err
	}
	k.returned[b.CIDR] = deed{b, l.Now}
	delete(k.empty, b.CIDR)
	l.Blocks = slices.DeleteFunc(l.Blocks, func(o ipam.Block) bool { return o.CIDR == b.CIDR })
	return k.done("returned", b, nil)
}

// done tells of what was done, where it did not fail.
func (k *Keeper) done(what string, b ipam.Block, err error) error {
	if err == nil {
		k.options.OnChange(what, b)
	}
	return err
}

// learn has pods get addresses of what there is now.
func (k *Keeper) learn(l *ipam.Ledger) {
	own := l.Own()
	cidrs := make([]netip.Prefix, len(own))
	for i, b := range own {
		cidrs[i] = b.CIDR
	}
	k.options.Leases.Forget(cidrs, l.Now)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.supply = ipam.Supply{Pools: l.Pools, Blocks: own, Reserved: l.Reserved}
	k.tell()
}
