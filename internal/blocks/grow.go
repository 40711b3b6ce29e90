package blocks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/ipam"
)

const (
	// growTimeout bounds how long a pod waits for a block.
	growTimeout = 15 * time.Second
	// tries is how many blocks are tried that others turn out to have: who was faster so often will be again.
	tries = 8
)

// demand is one pod that finds nothing free.
type demand struct {
	offer ipam.Offer
	// met gets the block that the pod may have an address of, or why there is none.
	met chan answer
}

type answer struct {
	block netip.Prefix
	err   error
}

// Grow gets the node a block in which a pod finds what an offer lacks, and returns when the mesh carries it. Pods that ask at the same time
// share blocks. ipam.ErrLater: the API server did not answer.
func (k *Keeper) Grow(ctx context.Context, o ipam.Offer) error {
	ctx, cancel := context.WithTimeout(ctx, growTimeout)
	defer cancel()
	d := &demand{offer: o, met: make(chan answer, 1)}
	k.mu.Lock()
	k.demands = append(k.demands, d)
	k.mu.Unlock()
	k.options.Trigger()
	select {
	case got := <-d.met:
		if got.err != nil {
			return got.err
		}
		return k.wait(ctx, got.block)
	case <-ctx.Done():
		return fmt.Errorf("%w: claiming a block: %w", ipam.ErrLater, ctx.Err())
	}
}

// wait returns when pods can have addresses of a block.
func (k *Keeper) wait(ctx context.Context, block netip.Prefix) error {
	for {
		k.mu.Lock()
		changed := k.changed
		k.mu.Unlock()
		if slices.ContainsFunc(k.Supply().Blocks, func(b ipam.Block) bool { return b.CIDR == block }) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: waiting for the mesh to carry block %s: %w", ipam.ErrLater, block, ctx.Err())
		}
	}
}

// takeDemands are those that came up to now.
func (k *Keeper) takeDemands() []*demand {
	k.mu.Lock()
	defer k.mu.Unlock()
	taken := k.demands
	k.demands = nil
	return taken
}

// meet answers demands: by blocks that the pods did not know of, as far as those have room, and by new ones.
func (k *Keeper) meet(ctx context.Context, l *ipam.Ledger, demands []*demand) error {
	var errs []error
	promised := map[netip.Prefix]int{}
	for _, d := range demands {
		block, err := k.room(l, d.offer, promised)
		if err == nil && !block.IsValid() {
			block, err = k.more(ctx, l, d.offer)
		}
		if errors.Is(err, ipam.ErrLater) {
			errs = append(errs, err)
		}
		promised[block]++
		d.met <- answer{block, err}
	}
	return errors.Join(errs...)
}

// room is a block that was no part of an offer and has room; invalid where there is none.
func (k *Keeper) room(l *ipam.Ledger, o ipam.Offer, promised map[netip.Prefix]int) (netip.Prefix, error) {
	held := ipam.Supply{Reserved: l.Reserved}
	for _, b := range l.Own() {
		offered := slices.ContainsFunc(o.Blocks, func(p ipam.Part) bool { return p.Prefix == b.CIDR })
		if !offered && slices.Contains(o.Pools, b.Pool) && (!o.Fixed.IsValid() || b.CIDR.Contains(o.Fixed)) {
			held.Blocks = append(held.Blocks, b)
		}
	}
	uses, err := k.options.Leases.Uses(held.Everything(), l.Now)
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, u := range uses {
		if o.Fixed.IsValid() || u.Free() > promised[u.Prefix] {
			return u.Prefix, nil
		}
	}
	return netip.Prefix{}, nil
}

// more claims a block for an offer.
func (k *Keeper) more(ctx context.Context, l *ipam.Ledger, o ipam.Offer) (netip.Prefix, error) {
	for range tries {
		b, err := l.For(o)
		if err != nil {
			return netip.Prefix{}, err
		}
		switch claimed, err := k.claim(ctx, l, b); {
		case err != nil:
			return netip.Prefix{}, fmt.Errorf("%w: %w", ipam.ErrLater, err)
		case claimed:
			return b.CIDR, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%w: others claimed %d blocks of %v meanwhile", ipam.ErrLater, tries, o.Pools)
}
