package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/mesh/route"
)

// nudgeFor is how long peers are called when this node's address has changed: a call that is lost is repeated each second.
const nudgeFor = 3 * time.Second

// pathInterval is the shortest time between two looks at the paths to all peers, since a node may have links that come and go all the
// time.
const pathInterval = 2 * time.Second

// repair follows the kernel: what somebody else changed is put right at once, and when the node's own addresses change every
// peer hears from it, so that they roam before the API has said a word.
func (a *Agent) repair(ctx context.Context) error {
	events, err := a.router.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watching links, addresses and routes: %w", err)
	}
	tables, err := a.guard.Watch(ctx)
	if err != nil {
		return err
	}
	go a.followTables(ctx, tables, a.guard.Watch, func() {
		a.guard.Forget()
		a.reconcileLoop.Trigger()
	})
	own, err := a.underlayAddresses()
	if err != nil {
		return err
	}
	addresses := follower{now: own}
	for event := range events {
		a.pathLoop.Trigger()
		switch {
		case event.Kind == route.Everything || event.Link == a.config.Interface:
			a.audit.Store(true)
		case event.Kind == route.Route:
			a.auditRoutes.Store(true)
		}
		a.reconcileLoop.Trigger()
		if event.Kind != route.Address && event.Kind != route.Everything {
			continue
		}
		now, err := a.underlayAddresses()
		if err != nil {
			a.logger.Error("reading this node's addresses failed; peers will follow when its Node changes", zap.Error(err))
			continue
		}
		gone, roamed := addresses.follow(now)
		if roamed {
			a.logger.Info("addresses of this node went; calling every peer", zap.Stringers("gone", gone), zap.Stringers("now", now))
			a.nudge(ctx)
		}
		a.kube.Reconnect(gone)
	}
	return ctx.Err()
}

// follower follows a node's own addresses.
type follower struct {
	now []netip.Addr
	// missed are those that went while nothing came in their place.
	missed []netip.Addr
}

// follow says which addresses went, and whether the peers have to hear from the node: where one went, and once more where another comes after
// that. One that only came is no reason: what the peers send still arrives. Many come where somebody else's pods have their gateways on the host.
func (f *follower) follow(now []netip.Addr) (gone []netip.Addr, roamed bool) {
	came := without(now, f.now)
	gone = without(f.now, now)
	f.missed = append(without(f.missed, now), gone...)
	f.now = now
	roamed = len(gone) > 0 || len(came) > 0 && len(f.missed) > 0
	if len(came) > 0 {
		f.missed = nil
	}
	return gone, roamed
}

func without(addrs, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return slices.Contains(others, a) })
}

// forgetPaths makes the next reconcile ask the kernel how large a packet each peer's path takes.
func (a *Agent) forgetPaths(context.Context) error {
	a.router.ForgetPaths()
	a.repathed.Store(true)
	a.reconcileLoop.Trigger()
	return nil
}

// followTables follows tables of nftables until ctx ends, and tells of each change: where that breaks off, it begins anew, and tells of what it
// may have missed.
func (a *Agent) followTables(ctx context.Context, changed <-chan struct{}, watch func(context.Context) (<-chan struct{}, error), tell func()) {
	var watching problem
	for {
		for range changed {
			tell()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		again, err := watch(ctx)
		if began, _ := watching.update(err); began {
			a.logger.Error("nftables tells of changes no more; trying again each second, and audits find them until then", zap.Error(err))
		}
		if err == nil {
			changed = again
			tell()
		}
	}
}

// nudge makes every peer hear from this node for a while.
func (a *Agent) nudge(ctx context.Context) {
	a.nudging.Store(true)
	if err := a.device.Nudge(); err != nil {
		a.nudging.Store(false)
		a.logger.Error("calling the peers failed; they will follow when this node's Node changes", zap.Error(err))
		return
	}
	time.AfterFunc(nudgeFor, func() {
		defer a.nudging.Store(false)
		if ctx.Err() != nil {
			return // The next agent settles what it finds.
		}
		if err := a.device.Settle(); err != nil {
			a.logger.Error("setting the peers' keepalive back failed; the next sync repairs it", zap.Error(err))
			a.audit.Store(true)
			a.reconcileLoop.Trigger()
		}
	})
}

// underlayAddresses are the node's own addresses without its mesh addresses, sorted.
func (a *Agent) underlayAddresses() ([]netip.Addr, error) {
	addrs, err := a.router.LocalAddresses()
	if err != nil {
		return nil, fmt.Errorf("listing this node's addresses: %w", err)
	}
	return slices.DeleteFunc(addrs, a.inCluster), nil
}
