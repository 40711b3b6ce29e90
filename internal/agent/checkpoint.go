package agent

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/mesh"
)

const (
	// checkpointInterval is the shortest time between two writes of the last good plan: what changes meanwhile is one write.
	checkpointInterval = 5 * time.Second
	// checkpointCost is about what one costs for each peer, most of it for the JSON: as with reading the device, a large mesh's are rarer.
	checkpointCost = 10 * time.Microsecond
)

// checkpointDue is the time between two writes of a plan with so many peers.
func checkpointDue(peers int) time.Duration {
	return max(checkpointInterval, readShare*checkpointCost*time.Duration(peers))
}

// keeper writes the last plan that the kernel took to disk, in its own time: a disk that is slow, full or gone holds up nothing.
type keeper struct {
	store   *checkpoint.Store
	loop    *loop.Runner
	logger  *zap.Logger
	metrics *metrics

	problem problem

	mu sync.Mutex // guards plan
	// plan is the last good one; nil before the first.
	plan *mesh.Plan
}

func newKeeper(store *checkpoint.Store, logger *zap.Logger, metrics *metrics) *keeper {
	k := &keeper{store: store, logger: logger, metrics: metrics}
	k.loop = loop.New(func(context.Context) error { return k.save() }, loop.Options{
		Min: checkpointInterval, MinNow: k.due, RetryMin: checkpointInterval, RetryMax: time.Minute, OnResult: k.saved,
	})
	return k
}

// due is the shortest time until the next write.
func (k *keeper) due() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plan == nil {
		return checkpointInterval
	}
	return checkpointDue(peersOf(*k.plan))
}

// keep is told of a plan that the kernel holds. It never waits.
func (k *keeper) keep(plan mesh.Plan) {
	k.mu.Lock()
	k.plan = &plan
	k.mu.Unlock()
	k.loop.Trigger()
}

// run writes until ctx ends.
func (k *keeper) run(ctx context.Context) { k.loop.Run(ctx) }

// flush writes what is left at the end.
func (k *keeper) flush() {
	start := time.Now()
	err := k.save()
	k.saved(time.Since(start), err)
}

func (k *keeper) save() error {
	k.mu.Lock()
	plan := k.plan
	k.mu.Unlock()
	if plan == nil {
		return nil
	}
	written, err := k.store.Save(*plan)
	if written {
		k.metrics.checkpoints.Inc()
	}
	return err
}

// saved counts failures, and tells of them once when they begin or change, and of their end.
func (k *keeper) saved(_ time.Duration, err error) {
	if err != nil {
		k.metrics.checkpointFailures.Inc()
	}
	switch began, ended := k.problem.update(err); {
	case began:
		k.logger.Error("the last good plan could not be written to disk; the mesh goes on, and this is retried", zap.Error(err))
	case ended:
		k.logger.Info("the last good plan is on disk again", zap.String("file", k.store.Path()))
	}
}
