package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/mesh"
)

const (
	// quiet is how long nothing may have happened before the next event.
	quiet = 120 * time.Millisecond
	// eventPatience is how long one may take.
	eventPatience = 30 * time.Second
)

// kind is one sort of event: what changes, and what it has to cost.
type kind struct {
	name string
	do   func(ctx context.Context, m *member) error
	// wireguard and rtnetlink are the messages that it takes.
	wireguard, rtnetlink float64
}

// kinds are done one after the other, each to all of the members that have joined.
func (s *scene) kinds() []kind {
	claim := func(change func(*mesh.Claim, *member)) func(context.Context, *member) error {
		return func(ctx context.Context, m *member) error {
			change(&m.claim, m)
			return s.fleet.publish(ctx, m)
		}
	}
	return []kind{
		{"a peer joins", claim(func(*mesh.Claim, *member) {}), 1, 2},
		{"its endpoint changes", claim(func(c *mesh.Claim, m *member) {
			c.Endpoints = []netip.AddrPort{netip.AddrPortFrom(m.address(1), 51820)}
		}), 1, 0},
		{"it gives up a pod CIDR", claim(func(c *mesh.Claim, m *member) { c.PodCIDRs = m.podCIDRs()[:1] }), 1, 1},
		{"it takes it back", claim(func(c *mesh.Claim, m *member) { c.PodCIDRs = m.podCIDRs() }), 1, 1},
		{"it leaves", s.fleet.remove, 1, 2},
	}
}

// delays are how long events took, in milliseconds.
type delays struct {
	// own is from the event's arrival at the agent until everything was programmed, api from the request that made the event
	// until its arrival, and hand what the same messages take without an agent.
	own, api, hand []float64
	// messages are what each kind of event sent, on average, by kind.
	wireguard, rtnetlink map[string]float64
	// byKind are own's by kind.
	byKind map[string][]float64
}

// churn has members join, change and leave one at a time.
func (s *scene) churn(ctx context.Context) (delays, error) {
	d := delays{wireguard: map[string]float64{}, rtnetlink: map[string]float64{}, byKind: map[string][]float64{}}
	staged, err := s.fleet.stage(ctx, s.options.events)
	if err != nil {
		return d, err
	}
	log, err := openLog(s.node.AgentLog())
	if err != nil {
		return d, err
	}
	for _, k := range s.kinds() {
		if err := s.settle(ctx, log); err != nil {
			return d, err
		}
		before, err := scrape(ctx, s.node)
		if err != nil {
			return d, err
		}
		for _, m := range staged {
			if err := s.event(ctx, k, m, log, &d); err != nil {
				return d, fmt.Errorf("%s (%s): %w", k.name, m.name, err)
			}
		}
		after, err := scrape(ctx, s.node)
		if err != nil {
			return d, err
		}
		n := float64(len(staged))
		d.wireguard[k.name] = (after[wireguardMessages] - before[wireguardMessages]) / n
		d.rtnetlink[k.name] = (after[rtnetlinkMessages] - before[rtnetlinkMessages]) / n
	}
	return d, nil
}

// settle waits until neither the API server nor the agent has done anything for a while.
func (s *scene) settle(ctx context.Context, log *agentLog) error {
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	last := time.Now()
	for time.Since(last) < quiet {
		all, err := log.read()
		if err != nil {
			return err
		}
		if len(all) > 0 {
			last = time.Now()
		}
		if arrived := s.agentBytes.last(); arrived.After(last) {
			last = arrived
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the agent to settle: %w", context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// event makes one event and times it. Its end is that of the first reconcile that began after the event had arrived.
func (s *scene) event(ctx context.Context, k kind, m *member, log *agentLog, d *delays) error {
	if err := s.settle(ctx, log); err != nil {
		return err
	}
	s.agentBytes.forget()
	asked := time.Now()
	if err := k.do(ctx, m); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	for {
		all, err := log.read()
		if err != nil {
			return err
		}
		arrived, missing := s.agentBytes.first()
		for _, r := range all {
			// The log has microseconds at best: what began in the same one began after.
			if missing == nil && r.start().After(arrived.Add(-time.Microsecond)) {
				d.own = append(d.own, milliseconds(r.end.Sub(arrived)))
				d.byKind[k.name] = append(d.byKind[k.name], milliseconds(r.end.Sub(arrived)))
				d.api = append(d.api, milliseconds(arrived.Sub(asked)))
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for the agent: %w", context.Cause(ctx)), missing)
		case <-time.After(time.Millisecond):
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
