package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/warren-mesh/warren/bench/report"
)

// sample is one measurement on one path.
type sample struct {
	value float64
	// cpu is the tunnel processes' processor seconds per GB; 0 where that was not measured.
	cpu float64
}

// measurement takes one sample, which takes about d.
type measurement func(ctx context.Context, p path, d time.Duration) (sample, error)

// load is one of the things that are measured.
type load struct {
	metric, unit, scale string
	bar                 report.Bar
	take                measurement
}

func loads() []load {
	throughput, delay := report.Bar{AtLeast: 0.97}, report.Bar{AtMost: 1.05}
	return []load{
		{"TCP", "Gb/s", "1 stream", throughput, tcp(1)},
		{"TCP", "Gb/s", "8 streams", throughput, tcp(8)},
		{"UDP", "kpackets/s", fmt.Sprintf("%d bytes, %d in flight", smallPayload, window), throughput, smallUDP},
		{"UDP flood", "kpackets/s", fmt.Sprintf("%d bytes", smallPayload), throughput, flood},
		{"latency", "µs", "p50, UDP round trip", delay, latency},
	}
}

// measure takes every load's samples on every path in turn, so that what the machine does besides meets all of them alike.
func (s *scene) measure(ctx context.Context, o options, progress io.Writer) ([]report.Metric, error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, err
	}
	var metrics []report.Metric
	for _, l := range loads() {
		if !only.MatchString(l.metric + " " + l.scale) {
			continue
		}
		samples, err := s.rounds(ctx, l, o, progress)
		if err != nil {
			return nil, fmt.Errorf("measuring %s, %s: %w", l.metric, l.scale, err)
		}
		more, err := compare(l, samples, s.baselines)
		if err != nil {
			return nil, err
		}
		metrics = append(metrics, more...)
	}
	return metrics, nil
}

// rounds returns the samples by path.
func (s *scene) rounds(ctx context.Context, l load, o options, progress io.Writer) (map[string][]sample, error) {
	samples := map[string][]sample{}
	for round := range o.rounds {
		paths := s.paths()
		if round%2 == 1 {
			slices.Reverse(paths)
		}
		fmt.Fprintf(progress, "%s, %s: round %d of %d:", l.metric, l.scale, round+1, o.rounds)
		for _, p := range paths {
			taken, err := l.take(ctx, p, o.duration)
			if err != nil {
				fmt.Fprintln(progress)
				return nil, err
			}
			samples[p.name] = append(samples[p.name], taken)
			fmt.Fprintf(progress, "  %s %.3g", p.name, taken.value)
		}
		fmt.Fprintln(progress, "", l.unit)
	}
	return samples, nil
}

// compare makes a metric of each baseline, and another one of the processor time where that was measured.
func compare(l load, samples map[string][]sample, baselines []path) ([]report.Metric, error) {
	var metrics []report.Metric
	for _, p := range baselines {
		metrics = append(metrics, report.Metric{
			Metric: l.metric, Unit: l.unit, Scale: l.scale, Against: p.name, Bar: &l.bar,
			Samples: pick(samples[warren], samples[p.name], func(s sample) float64 { return s.value }),
		})
	}
	for _, p := range baselines {
		cpu := pick(samples[warren], samples[p.name], func(s sample) float64 { return s.cpu })
		if !slices.Contains(cpu.Value, 0) && !slices.Contains(cpu.Baseline, 0) {
			metrics = append(metrics, report.Metric{
				Metric: l.metric + ", CPU", Unit: "s/GB", Scale: l.scale, Against: p.name, Samples: cpu,
			})
		}
	}
	for i := range metrics {
		if err := metrics[i].Complete(); err != nil {
			return nil, err
		}
	}
	return metrics, nil
}

func pick(values, baselines []sample, what func(sample) float64) (s report.Samples) {
	for i := range values {
		s.Value = append(s.Value, what(values[i]))
		s.Baseline = append(s.Baseline, what(baselines[i]))
	}
	return s
}
