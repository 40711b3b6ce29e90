package agent

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/loop"
)

// policyCost is about what writing one member of a set costs: as with the plan, a large cluster's are rarer.
const policyCost = 2 * time.Microsecond

// policyKeeper writes what the node's pods need to disk, in its own time.
type policyKeeper struct {
	loop *loop.Runner
	// members are how many there were in the last write's sets.
	members atomic.Int64
	problem problem
	// stale says that the disk has others.
	stale atomic.Bool
}

func (k *policyKeeper) open(a *Agent) {
	k.loop = loop.New(func(context.Context) error { return k.save(a) }, loop.Options{
		Min: checkpointInterval, RetryMin: checkpointInterval, RetryMax: time.Minute,
		MinNow: func() time.Duration {
			return max(checkpointInterval, readShare*policyCost*time.Duration(k.members.Load()))
		},
		OnResult: func(_ time.Duration, err error) {
			switch began, ended := k.problem.update(err); {
			case began:
				a.logger.Error("the pods' rules could not be written to disk; they are in the kernel, and this is retried", zap.Error(err))
			case ended:
				a.logger.Info("the pods' rules are on disk again", zap.String("file", a.enforcement.disk.Path()))
			}
		},
	})
}

// changed is told that the kernel took other rules. It never waits.
func (k *policyKeeper) changed() {
	k.stale.Store(true)
	k.loop.Trigger()
}

// flush writes what is not on disk yet.
func (k *policyKeeper) flush(a *Agent) {
	if k.loop == nil {
		return
	}
	if err := k.save(a); err != nil {
		a.logger.Warn("the pods' rules are not on disk as the kernel has them", zap.Error(err))
	}
}

// save writes what the kernel holds: what the API server says, or until it does what was on disk and pods that came since.
func (k *policyKeeper) save(a *Agent) error {
	if !k.stale.Swap(false) {
		return nil
	}
	e := &a.enforcement
	e.mu.Lock()
	rules := e.index.Ruleset()
	if e.held {
		rules = e.restored
		rules.Pods = maps.Clone(rules.Pods)
	}
	k.members.Store(int64(e.index.Stats().Members))
	e.mu.Unlock()
	err := e.disk.Save(rules)
	if err != nil {
		k.stale.Store(true)
	}
	return err
}
