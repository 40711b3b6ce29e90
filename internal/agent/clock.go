package agent

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/clock"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/wg"
)

// clockInterval is how often the time is noted on disk: a clock that goes back by less while the node is down is noticed only where a
// handshake was later.
const clockInterval = 10 * time.Second

// followClock looks whether the node's clock went back, now and whenever it is set, and says so to the peers by the claim: they refuse
// this node's handshakes otherwise until its clock has caught up.
func (a *Agent) followClock(ctx context.Context) error {
	set, err := clock.Watch(ctx)
	if err != nil {
		return err
	}
	a.lookAtClock()
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	var noting problem
	for {
		err := a.clock.Look(time.Now())
		if began, _ := noting.update(err); began {
			a.logger.Error("the time could not be noted on disk; a clock that goes back over the next restart may go unnoticed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-set:
			if !open {
				return errors.Join(ctx.Err(), errors.New("the timer that tells when the clock is set ended"))
			}
			a.lookAtClock()
		case <-tick.C:
		}
	}
}

// lookAtClock counts a step back where the clock shows less than what peers may have seen of it: the time of the last handshake or,
// since a device may have been made anew that had some, when the clock was last looked at.
func (a *Agent) lookAtClock() {
	latest, what := a.clock.Seen(), "it was last looked at"
	peers, err := a.device.Peers()
	if err != nil && !errors.Is(err, wg.ErrNoDevice) {
		a.logger.Warn("reading the WireGuard device failed: whether the clock went back since the last handshake is not known", zap.Error(err))
	}
	for _, p := range peers {
		if p.LastHandshake.After(latest) {
			latest, what = p.LastHandshake, "the last handshake"
		}
	}
	// After the device was read: a handshake may be as young as its reading. Without the monotonic reading, which never goes back.
	now := time.Now().Round(0)
	if !now.Before(latest) {
		return
	}
	err = a.clock.Back(now)
	a.logger.Warn("the clock went back: peers are asked to begin anew with this node; find out what set it",
		zap.Time("now", now), zap.Time("before", latest), zap.String("beforeIs", what), zap.Uint32("steps", a.clock.Steps()), zap.Error(err))
	a.reconcileLoop.Trigger()
}

// renew makes the peers anew whose clocks went back since they were adopted.
func (a *Agent) renew(peers []*mesh.Peer) error {
	before, now := a.changed(peers)
	steps := make(map[identity.PublicKey]uint32, len(before))
	for _, peer := range before {
		steps[peer.PublicKey] = peer.ClockSteps
	}
	var keys []identity.PublicKey
	for _, peer := range now {
		if before, ok := steps[peer.PublicKey]; ok && before != peer.ClockSteps {
			a.logger.Info("a node's clock went back: beginning anew with it", zap.String("node", peer.Node), zap.Uint32("steps", peer.ClockSteps))
			keys = append(keys, peer.PublicKey)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return a.device.Renew(keys...)
}
