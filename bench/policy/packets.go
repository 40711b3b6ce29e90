package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/bench/report"
)

// What throughput and connections are held to, against none: the least rate, and the most that one may cost.
const (
	leastRate = 0.95
	mostUsed  = 1.05
)

// load is what is sent between two pods of one node. used is the unit of the processor time.
type load struct {
	metric, unit, scale, used string
	run                       func(ctx context.Context, s *side, d time.Duration) (sample, error)
}

var loads = []load{
	{"TCP", "Gb/s", "1 stream", "µs/Gb", stream},
	{"TCP round trips", "1/s", "64 bytes, one connection", "µs", roundTrips},
	{"connections", "1/s", "one after the other, 64 bytes there and back", "µs", connections},
}

// measurePackets measures each load on every node in turn, every second round backwards.
func measurePackets(ctx context.Context, o options, r *report.Report, progress io.Writer) (err error) {
	s, err := newSides(ctx, append([]int{noTable, 0}, o.policies...), progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	found := map[string]map[int][]sample{}
	for round := range o.packetRounds {
		order := slices.Clone(s.all)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, l := range loads {
			fmt.Fprintf(progress, "policy: %s: round %d of %d:", l.metric, round+1, o.packetRounds)
			for _, one := range order {
				done, err := l.run(ctx, one, o.duration)
				if err != nil {
					return fmt.Errorf("%s with %d policies: %w", l.metric, one.policies, err)
				}
				if found[l.metric] == nil {
					found[l.metric] = map[int][]sample{}
				}
				found[l.metric][one.policies] = append(found[l.metric][one.policies], done)
				fmt.Fprintf(progress, "  %.3g", done.rate)
			}
			fmt.Fprintln(progress, "", l.unit)
		}
	}
	for _, l := range loads {
		r.Metrics = append(r.Metrics, compare(l, found[l.metric], o.policies)...)
	}
	return nil
}

// compare holds each number of policies against none, and none against a node without a table.
func compare(l load, found map[int][]sample, policies []int) (all []report.Metric) {
	metric := func(name, unit string, of func(sample) float64, n, against int, what string, bar *report.Bar) {
		m := report.Metric{Metric: name, Unit: unit, Scale: fmt.Sprintf("%s, %d policies", l.scale, n), Against: what, Bar: bar}
		for i := range found[n] {
			m.Samples.Value = append(m.Samples.Value, of(found[n][i]))
			m.Samples.Baseline = append(m.Samples.Baseline, of(found[against][i]))
		}
		all = append(all, m)
	}
	for _, n := range append([]int{0}, policies...) {
		against, what, rate, used := 0, "0 policies", &report.Bar{AtLeast: leastRate}, &report.Bar{AtMost: mostUsed}
		if n == 0 {
			against, what, rate, used = noTable, "--policy=false", nil, nil
		}
		metric(l.metric, l.unit, func(s sample) float64 { return s.rate }, n, against, what, rate)
		metric(l.metric+", processor time", l.used, func(s sample) float64 { return s.used }, n, against, what, used)
	}
	return all
}

// stream is the bytes that arrive by one TCP stream, in Gb/s.
func stream(ctx context.Context, s *side, d time.Duration) (sample, error) {
	var arrived atomic.Int64
	answer := func(fd int, buffer []byte) error {
		n, err := unix.Read(fd, buffer)
		if err == nil && n == 0 {
			err = errEnded
		}
		arrived.Add(int64(max(n, 0)))
		return err
	}
	done, err := s.exchange(ctx, answer, func(until time.Time) (int, error) {
		fd, err := s.connect()
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
		buffer := make([]byte, streamBuffer)
		for time.Now().Before(until) {
			if _, err := unix.Write(fd, buffer); err != nil {
				return 0, fmt.Errorf("sending: %w", err)
			}
		}
		return 0, nil
	}, d)
	return done.sample(float64(arrived.Load()) * 8 / 1e9), err
}

// roundTrips is how many messages a second come back on one connection.
func roundTrips(ctx context.Context, s *side, d time.Duration) (sample, error) {
	done, err := s.exchange(ctx, echo, func(until time.Time) (count int, err error) {
		fd, err := s.connect()
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
		for time.Now().Before(until) {
			if err := trip(fd); err != nil {
				return count, err
			}
			count++
		}
		return count, nil
	}, d)
	return done.sample(float64(done.count)), err
}

// connections is how many a second are made, used once and ended.
func connections(ctx context.Context, s *side, d time.Duration) (sample, error) {
	done, err := s.exchange(ctx, echo, func(until time.Time) (count int, err error) {
		for time.Now().Before(until) {
			fd, err := s.connect()
			if err != nil {
				return count, err
			}
			if err := errors.Join(trip(fd), unix.Close(fd)); err != nil {
				return count, err
			}
			count++
		}
		return count, nil
	}, d)
	return done.sample(float64(done.count)), err
}
