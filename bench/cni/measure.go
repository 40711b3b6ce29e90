package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/warren-mesh/warren/bench/report"
)

// atOnce is how many pods come at the same time.
const atOnce = 50

// afterwards is how long the agent may have something to do after a pod: 100 ms later it looks for flows that policy forbids now. Nothing of it
// is to be done in the other's turn.
const afterwards = 200 * time.Millisecond

// bar is what Warren's median should keep to.
var bar = report.Bar{AtMost: 0.6}

// present are how many pods there are already.
var present = []int{0, 50, 250}

// figures are the samples of one command, by how it was called.
type figures struct{ alone, parallel report.Samples }

func (s *scene) measure(ctx context.Context, o options, out io.Writer) ([]report.Metric, error) {
	var metrics []report.Metric
	there := 0
	for _, count := range present {
		if err := s.populate(ctx, count-there); err != nil {
			return nil, err
		}
		there = count
		fmt.Fprintf(out, "with %d pods\n", count)
		add, del, err := s.measureWith(ctx, o)
		if err != nil {
			return nil, err
		}
		for _, f := range []struct {
			command string
			figures figures
		}{{"ADD", add}, {"DEL", del}} {
			more, err := f.figures.metrics(f.command, count)
			if err != nil {
				return nil, err
			}
			metrics = append(metrics, more...)
		}
	}
	return metrics, nil
}

// populate adds pods that stay, as many of each.
func (s *scene) populate(ctx context.Context, count int) error {
	for _, who := range []subject{s.warren, s.them} {
		pods, err := s.newPods(ctx, who.node, count)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(pods, atOnce) {
			if _, err := s.callAll(ctx, who, "add", chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureWith takes turns, so that what else the machine does meets both.
func (s *scene) measureWith(ctx context.Context, o options) (add, del figures, err error) {
	for range o.alone {
		if err := s.turn(ctx, 1, &add.alone, &del.alone); err != nil {
			return add, del, err
		}
	}
	for range o.rounds {
		if err := s.turn(ctx, atOnce, &add.parallel, &del.parallel); err != nil {
			return add, del, err
		}
	}
	return add, del, nil
}

func (s *scene) turn(ctx context.Context, count int, add, del *report.Samples) error {
	for _, who := range []struct {
		subject  subject
		add, del *[]float64
	}{{s.warren, &add.Value, &del.Value}, {s.them, &add.Baseline, &del.Baseline}} {
		node := who.subject.node
		before, err := links(ctx, node)
		if err != nil {
			return err
		}
		pods, err := s.newPods(ctx, node, count)
		if err != nil {
			return err
		}
		for _, step := range []struct {
			command string
			samples *[]float64
		}{{"add", who.add}, {"del", who.del}} {
			took, err := s.callAll(ctx, who.subject, step.command, pods)
			if err != nil {
				return err
			}
			*step.samples = append(*step.samples, slices.Sorted(slices.Values(took))...)
		}
		if err := errors.Join(s.dropPods(ctx, node, pods), settle(ctx, node, before)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(afterwards):
		}
	}
	return nil
}

// metrics are the medians, by the median of the ratios, and the 99th percentiles.
func (f figures) metrics(command string, present int) ([]report.Metric, error) {
	var metrics []report.Metric
	for _, way := range []struct {
		name    string
		samples report.Samples
	}{{"alone", f.alone}, {"50 at once", f.parallel}} {
		median := report.Metric{
			Metric: command + " p50", Unit: "ms", Scale: fmt.Sprintf("%s, %d pods", way.name, present), Against: "ptp+host-local",
			Samples: way.samples, Bar: &bar,
		}
		high := median
		high.Metric, high.Bar = command+" p99", nil
		high.Samples = report.Samples{Value: []float64{p99(way.samples.Value)}, Baseline: []float64{p99(way.samples.Baseline)}}
		for _, m := range []*report.Metric{&median, &high} {
			if err := m.Complete(); err != nil {
				return nil, err
			}
			metrics = append(metrics, *m)
		}
	}
	return metrics, nil
}

func p99(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)*99+99)/100-1]
}
