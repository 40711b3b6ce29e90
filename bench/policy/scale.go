package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/bench/policy/cluster"
)

// scaleTask measures a cluster of so many pods, with so many events of each kind.
const scaleTask = "scale"

// What else than events is measured at each scale.
const (
	firstSync       = "first sync"
	firstSyncKernel = "first sync, making the kernel's table"
	firstSyncCPU    = "first sync, processor time"
	wholeAgain      = "comparing the whole table"
	wholeAgainCPU   = "comparing the whole table, processor time"
	peakMemory      = "RSS, peak of the first sync"
	memoryAfter     = "RSS, after the events"

	heldSets     = "sets"
	heldElements = "elements"
	heldRules    = "rules"

	// ofTransaction is the part of an event's time that the one transaction takes, with the making of its messages.
	ofTransaction = ", its transaction, p50"
)

// subject is an enforcer of a cluster's policy.
type subject struct {
	cluster.Cluster
	*enforcer
}

// scaleRound is one start of an enforcer, and events after it.
func scaleRound(ctx context.Context, pods, count int) (figures, error) {
	e, err := newEnforcer()
	if err != nil {
		return nil, err
	}
	s := &subject{cluster.New(pods), e}
	found := figures{}
	began := time.Now()
	s.Tell(s.index)
	told := time.Now()
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	found[firstSync], found[firstSyncKernel] = time.Since(began).Seconds(), time.Since(told).Seconds()
	used, err := usage(unix.RUSAGE_SELF)
	if err != nil {
		return nil, err
	}
	found[firstSyncCPU] = used.all
	if found[peakMemory], err = memory("VmHWM:"); err != nil {
		return nil, err
	}
	for _, kind := range events {
		if err := s.measure(kind, count, found); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
	}
	if found[memoryAfter], err = memory("VmRSS:"); err != nil {
		return nil, err
	}
	stats := s.index.Stats()
	found[heldSets], found[heldElements], found[heldRules] = float64(stats.Sets), float64(stats.Members+stats.Ranges), float64(stats.Rules)
	before, err := usage(unix.RUSAGE_SELF)
	if err != nil {
		return nil, err
	}
	began = time.Now()
	err = s.whole()
	found[wholeAgain] = time.Since(began).Seconds()
	after, cpuErr := usage(unix.RUSAGE_SELF)
	found[wholeAgainCPU] = after.all - before.all
	return found, errors.Join(err, cpuErr)
}

// measure has events of one kind happen.
func (s *subject) measure(kind event, count int, found figures) error {
	var times, transactions []float64
	for i := range count {
		took, transaction, err := s.after(kind.prepare(s, i))
		if err != nil {
			return err
		}
		times, transactions = append(times, microseconds(took)), append(transactions, microseconds(transaction))
	}
	found[kind.name+", p50"], found[kind.name+", p99"] = percentile(times, 50), percentile(times, 99)
	found[kind.name+ofTransaction] = percentile(transactions, 50)
	return nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// percentile is the least of the values that so many of a hundred are not above.
func percentile(values []float64, of int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)*of+99)/100-1]
}
