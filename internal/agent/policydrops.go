package agent

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/drops"
)

// A pod may send what is denied as fast as it can. The kernel tells of 10 packets a second of each rule; of those the agent takes dropsAtOnce every
// dropsPause, and lets the rest wait in the kernel, which loses what it has no room for. The last dropsKept are kept.
const (
	dropsAtOnce = 100
	dropsPause  = time.Second
	dropsKept   = 1000
)

// The reasons that are told of in other words than drops has.
const (
	noRulesYet = "no rules yet"
	isolated   = "isolated"
)

// dropLog keeps the last denied packets. It is safe for concurrent use.
type dropLog struct {
	// fresh are those that the kernel told of, without names.
	fresh   chan drops.Record
	problem problem

	mu   sync.Mutex // guards all below
	kept []socket.Drop
	// next is the number of the next one, and more is closed when it comes.
	next uint64
	more chan struct{}
}

func (d *dropLog) open() {
	d.fresh, d.more, d.next = make(chan drops.Record, dropsAtOnce), make(chan struct{}), 1
}

// add keeps packets, and gives them their numbers.
func (d *dropLog) add(all []socket.Drop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range all {
		all[i].Number = d.next
		d.next++
	}
	d.kept = append(d.kept, all...)
	if over := len(d.kept) - dropsKept; over > 0 {
		d.kept = slices.Clone(d.kept[over:]) // what goes is let go of
	}
	close(d.more)
	d.more = make(chan struct{})
}

// after are those with greater numbers, and what is closed when there are more. A number that was never given is of an agent before.
func (d *dropLog) after(number uint64) (socket.Drops, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if number >= d.next {
		number = 0
	}
	out := socket.Drops{Drops: []socket.Drop{}, Next: d.next - 1}
	for _, one := range d.kept {
		if one.Number > number {
			out.Drops = append(out.Drops, one)
		}
	}
	if number > 0 {
		out.Gone = out.Next - number - uint64(len(out.Drops))
	}
	return out, d.more
}

// Drops implements socket.Backend.
func (a *Agent) Drops(ctx context.Context, after uint64) (socket.Drops, error) {
	e := &a.enforcement
	if e.table == nil {
		return socket.Drops{}, errNoPolicy
	}
	for {
		found, more := e.drops.after(after)
		if len(found.Drops) > 0 {
			return found, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return found, nil
		}
	}
}

// followDrops takes from the kernel's log until ctx ends, and begins anew where that fails.
func (a *Agent) followDrops(ctx context.Context) {
	e := &a.enforcement
	loop.New(func(ctx context.Context) error {
		return drops.Follow(ctx, e.logGroup, e.table, func(r drops.Record) {
			select {
			case e.drops.fresh <- r:
			case <-ctx.Done():
			}
		})
	}, loop.Options{RetryMin: time.Second, RetryMax: time.Minute, OnResult: func(_ time.Duration, err error) {
		switch began, ended := e.drops.problem.update(err); {
		case began:
			a.logger.Warn("denied packets are counted, and not told of; retrying", zap.Error(err))
		case ended && ctx.Err() == nil:
			a.logger.Info("denied packets are told of again")
		}
	}}).Run(ctx)
}

// nameDrops gives packets their names, those of a while at once, and keeps them.
func (a *Agent) nameDrops(ctx context.Context) {
	d := &a.enforcement.drops
	for {
		var batch []drops.Record
		select {
		case <-ctx.Done():
			return
		case r := <-d.fresh:
			batch = append(batch, r)
		}
		for len(batch) < dropsAtOnce && len(d.fresh) > 0 {
			batch = append(batch, <-d.fresh)
		}
		a.keepDrops(batch)
		select {
		case <-ctx.Done():
			return
		case <-time.After(dropsPause):
		}
	}
}

// keepDrops names, counts, logs and keeps packets.
func (a *Agent) keepDrops(batch []drops.Record) {
	e := &a.enforcement
	ends := map[netip.Addr]bool{}
	for _, r := range batch {
		ends[r.From.Addr()], ends[r.To.Addr()] = true, true
	}
	// Without what the API server says there are no names but those of our own pods.
	w, _ := e.world(func(p policy.Pod) bool {
		return slices.ContainsFunc(p.Addresses, func(a netip.Addr) bool { return ends[a] })
	})
	names := namesOf(w)
	for address, pod := range e.bonds.localAddresses() {
		names[address] = pod.String()
	}
	named := make([]socket.Drop, 0, len(batch))
	for _, r := range batch {
		drop := dropOf(r, names, w)
		if r.Reason == drops.BySource { // whose address it has is no matter
			drop.Pod = e.bonds.podBehind(r.Interface)
		}
		e.metrics.drops.WithLabelValues("kept").Inc()
		e.metrics.drops.WithLabelValues("lost").Add(float64(r.Missed))
		a.logger.Debug("policy denied a packet", dropFields(drop)...)
		named = append(named, drop)
	}
	e.drops.add(named)
}

// dropOf is a record in names.
func dropOf(r drops.Record, names map[netip.Addr]string, w policy.World) socket.Drop {
	d := socket.Drop{
		Time: r.Time.UTC(), Protocol: r.Protocol.String(), Direction: r.Direction.String(), Interface: r.Interface, Reason: string(r.Reason), Missed: r.Missed,
		From: socket.End{Pod: names[r.From.Addr()], Address: r.From.Addr(), Port: r.From.Port()},
		To:   socket.End{Pod: names[r.To.Addr()], Address: r.To.Addr(), Port: r.To.Port()},
	}
	subject := r.To.Addr()
	if r.Direction == policy.Egress {
		subject = r.From.Addr()
	}
	switch r.Reason {
	case drops.NotBound:
		d.Reason, d.Pod = noRulesYet, names[subject]
	case drops.ByRule:
		rule := ruleOf(r.Rule)
		d.Rule, d.Pod = &rule, names[subject]
		if r.Rule.Tier == policy.NetworkPolicyTier && r.Rule.Rule < 0 {
			d.Reason, d.IsolatedBy = isolated, w.Isolating(subject, r.Direction)
		}
	case drops.BySource:
	case drops.ByRevocation, drops.ByPast: // of which neither side is known
		d.Direction = ""
	}
	return d
}

func dropFields(d socket.Drop) []zap.Field {
	fields := []zap.Field{
		zap.Time("at", d.Time), zap.String("from", d.From.Pod), zap.Stringer("fromAddress", netip.AddrPortFrom(d.From.Address, d.From.Port)),
		zap.String("to", d.To.Pod), zap.Stringer("toAddress", netip.AddrPortFrom(d.To.Address, d.To.Port)), zap.String("protocol", d.Protocol),
		zap.String("direction", d.Direction), zap.String("reason", d.Reason), zap.Strings("isolatedBy", d.IsolatedBy),
	}
	if d.Rule != nil {
		fields = append(fields, zap.String("tier", d.Rule.Tier), zap.String("namespace", d.Rule.Namespace), zap.String("policy", d.Rule.Policy))
		if d.Rule.Index != nil {
			fields = append(fields, zap.Int("rule", *d.Rule.Index))
		}
	}
	return fields
}
