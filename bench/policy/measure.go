package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warren-mesh/warren/bench/policy/cluster"
	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/policy"
)

// What is asked for at the largest scale.
const (
	podAddLimit    = 5000 // µs
	firstSyncLimit = 10   // s
	memoryLimit    = 500  // MiB
)

func setting(o options) map[string]string {
	return map[string]string{
		"processors": strconv.Itoa(runtime.NumCPU()), "kernel": report.Kernel(), "go": runtime.Version(),
		"cluster": "100 pods and 10 NetworkPolicies a namespace, 20 ClusterNetworkPolicies, 110 pods on the node, dual stack",
		"rounds":  fmt.Sprintf("%d of %d events of each kind", o.rounds, o.events),
		"time":    "from the event to the delta for the kernel; the kernel's own is not in it",
	}
}

// subject is an index that knows a cluster, and what it took to tell it.
type subject struct {
	cluster.Cluster
	index *policy.Index
	// sync is how long it took, and memory by how much the process has grown for it, in MiB.
	sync   time.Duration
	memory float64
}

// told makes a cluster, and tells an index of it in the way of an agent that has just started.
func told(pods int) (*subject, error) {
	s := &subject{Cluster: cluster.New(pods), index: policy.NewIndex()}
	before, err := resident()
	if err != nil {
		return nil, err
	}
	s.tell()
	after, err := resident()
	s.memory = after - before
	return s, err
}

// tell keeps nothing of the cluster but what the index does.
func (s *subject) tell() {
	w := s.World()
	runtime.GC()
	began := time.Now()
	w.Tell(s.index)
	s.index.Take()
	s.sync = time.Since(began)
}

// resident is the process's memory in MiB, after what is free has been given back.
func resident() (float64, error) {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("reading the process's memory: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("reading the process's memory: %q has no second field", text)
	}
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0, fmt.Errorf("reading the process's memory: %w", err)
	}
	return float64(pages*os.Getpagesize()) / (1 << 20), nil
}

// samples are of one scale: by metric, a value a round.
type samples map[string][]float64

func (s samples) add(metric string, value float64) { s[metric] = append(s[metric], value) }

// measure measures a scale and, in the same rounds, the smallest one. The largest is held to what is asked for, too.
func measure(ctx context.Context, o options, pods int) (measured []report.Metric, err error) {
	values, baselines := make(samples), make(samples)
	for range o.rounds {
		if err := measureRound(ctx, o, pods, values); err != nil {
			return nil, err
		}
		if err := measureRound(ctx, o, o.pods[0], baselines); err != nil {
			return nil, err
		}
	}
	for _, m := range metrics() {
		m.Scale = fmt.Sprintf("%d pods, %d policies", pods, cluster.New(pods).Policies())
		m.Against = fmt.Sprintf("%d pods", o.pods[0])
		m.Samples = report.Samples{Value: values[m.Metric], Baseline: baselines[m.Metric]}
		measured = append(measured, m)
		if limit, ok := limits[m.Metric]; ok && pods == slices.Max(o.pods) {
			m.Against, m.Bar = "what is asked for", &report.Bar{AtMost: 1}
			m.Samples.Baseline = slices.Repeat([]float64{limit}, o.rounds)
			measured = append(measured, m)
		}
	}
	for i := range measured {
		if err := measured[i].Complete(); err != nil {
			return nil, err
		}
	}
	return measured, nil
}

var limits = map[string]float64{"pod add, p99": podAddLimit, "first sync": firstSyncLimit, "memory of the index": memoryLimit}

// metrics are all that is measured, in their order.
func metrics() (all []report.Metric) {
	for _, e := range events {
		all = append(all, report.Metric{Metric: e.name + ", p50", Unit: "µs"}, report.Metric{Metric: e.name + ", p99", Unit: "µs"})
	}
	return append(all, report.Metric{Metric: "first sync", Unit: "s"}, report.Metric{Metric: "memory of the index", Unit: "MiB"})
}

func measureRound(ctx context.Context, o options, pods int, into samples) error {
	s, err := told(pods)
	if err != nil {
		return err
	}
	into.add("first sync", s.sync.Seconds())
	into.add("memory of the index", s.memory)
	for _, e := range events {
		if err := ctx.Err(); err != nil {
			return err
		}
		var times []float64
		for i := range o.events {
			do := e.prepare(s, i)
			began := time.Now()
			do()
			s.index.Take()
			times = append(times, float64(time.Since(began))/float64(time.Microsecond))
		}
		slices.Sort(times)
		into.add(e.name+", p50", times[(len(times)-1)/2])
		into.add(e.name+", p99", times[(len(times)*99+99)/100-1])
	}
	return nil
}
