package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/conntrack"
	"github.com/warren-mesh/warren/policy/revoke"
)

// Looking for flows costs by how many the node has, and where it has none the kernel still walks its whole table, for milliseconds. What is
// committed within revokeBatch is one look, which so is not in the way of a pod that waits for its rules; the next one waits for revokeShare times
// as long as the last one took, but never longer than revokePause: a flow that is forbidden meanwhile has a second.
const (
	revokeBatch = 100 * time.Millisecond
	revokeShare = 2
	revokePause = 200 * time.Millisecond
)

// revocation ends established flows that a change forbids, beside enforcement: no transaction, and no pod that waits for its rules, waits for it.
type revocation struct {
	tracker *conntrack.Tracker
	revoker *revoke.Revoker
	loop    *loop.Runner
	problem problem
	// took is how long the last listing took. Only the loop uses it.
	took time.Duration

	mu    sync.Mutex // guards since
	since time.Time  // when the first change was committed that is not settled; zero where all are
}

func (r *revocation) open(a *Agent) (err error) {
	if r.tracker, err = conntrack.New(); err != nil {
		return err
	}
	r.revoker = revoke.New(a.enforcement.table, r.tracker)
	r.loop = loop.New(func(ctx context.Context) error { return r.settle(ctx, a) }, loop.Options{
		RetryMin: 50 * time.Millisecond, RetryMax: revokePause,
		MinNow:   func() time.Duration { return min(revokeShare*r.took, revokePause) },
		OnResult: func(_ time.Duration, err error) { r.settled(a, err) },
	})
	return nil
}

func (r *revocation) close() {
	if r.tracker != nil {
		r.tracker.Close()
	}
}

// all is told of a ruleset that the kernel holds, however it came to that. It never waits.
func (r *revocation) all(rules policy.Ruleset) {
	r.revoker.All(rules)
	r.trigger()
}

// after is told of a delta that the kernel holds, with the addresses of pods that it removes. It never waits.
func (r *revocation) after(d policy.Delta, gone []netip.Addr) {
	if r.revoker.After(d, gone) {
		r.trigger()
	}
}

func (r *revocation) trigger() {
	r.mu.Lock()
	if r.since.IsZero() {
		r.since = time.Now()
	}
	r.mu.Unlock()
	r.loop.Trigger()
}

// settle judges flows by all that has changed, and changes in a moment.
func (r *revocation) settle(ctx context.Context, a *Agent) error {
	select {
	case <-ctx.Done():
		return nil // The next agent judges all.
	case <-time.After(revokeBatch):
	}
	r.mu.Lock()
	since := r.since
	r.since = time.Time{}
	r.mu.Unlock()
	result, err := r.revoker.Settle(a.flowState)
	r.took = result.Listing
	a.metrics.settled(result)
	if result.Revoked > 0 {
		a.logger.Info("ended established flows that policy forbids now", zap.Int("flows", result.Revoked), zap.Duration("after", time.Since(since)))
	}
	if err != nil {
		r.mu.Lock()
		r.since = since
		r.mu.Unlock()
		return err
	}
	if !since.IsZero() {
		a.metrics.policy.settled.Observe(time.Since(since).Seconds())
	}
	return nil
}

// settled tells of failures once when they begin or change, and of their end.
func (r *revocation) settled(a *Agent, err error) {
	if err != nil {
		a.metrics.policy.revokeFailures.Inc()
		err = fmt.Errorf("ending flows that policy forbids: %w", err)
	}
	switch began, ended := r.problem.update(err); {
	case began:
		a.logger.Error("established flows that policy forbids may go on; retrying", zap.Error(err))
	case ended:
		a.logger.Info("established flows that policy forbids have ended")
	}
}

// flowState is what flows are judged by: what the kernel holds by now, or is about to.
func (a *Agent) flowState() (revoke.State, error) {
	e := &a.enforcement
	e.mu.Lock()
	s := revoke.State{Rules: e.index.Ruleset()}
	e.mu.Unlock()
	own, err := net.InterfaceAddrs()
	if err != nil {
		return s, fmt.Errorf("listing the node's addresses: %w", err)
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			s.Node = append(s.Node, p.Addr().Unmap())
		}
	}
	return s, nil
}
