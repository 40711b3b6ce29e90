package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/warren-mesh/warren/bench/policy/cluster"
	"github.com/warren-mesh/warren/bench/report"
)

// What is asked for at the largest scale.
const (
	podAddLimit    = 5000 // µs
	firstSyncLimit = 10   // s
	memoryLimit    = 500  // MiB
)

var limits = map[string]float64{"pod add, p99": podAddLimit, firstSync: firstSyncLimit, peakMemory: memoryLimit, memoryAfter: memoryLimit}

// scaleMetrics are all that is measured at each scale, in their order.
func scaleMetrics() (all []report.Metric) {
	for _, e := range events {
		for _, what := range []string{", p50", ", p99", ofTransaction} {
			all = append(all, report.Metric{Metric: e.name + what, Unit: "µs"})
		}
	}
	for _, name := range []string{firstSync, firstSyncKernel, firstSyncCPU, wholeAgain, wholeAgainCPU} {
		all = append(all, report.Metric{Metric: name, Unit: "s"})
	}
	return append(all, report.Metric{Metric: peakMemory, Unit: "MiB"}, report.Metric{Metric: memoryAfter, Unit: "MiB"})
}

// samples are a task's figures, a value a round: by scale, and by metric.
type samples map[int]map[string][]float64

// rounds has a task done at every scale in turn.
func rounds(ctx context.Context, o options, progress io.Writer, task string, count int) (samples, error) {
	all := samples{}
	for round := range o.rounds {
		fmt.Fprintf(progress, "policy: %s: round %d of %d\n", task, round+1, o.rounds)
		for _, n := range o.pods {
			found, err := ask(ctx, task, n, count)
			if err != nil {
				return nil, err
			}
			if all[n] == nil {
				all[n] = map[string][]float64{}
			}
			for name, value := range found {
				all[n][name] = append(all[n][name], value)
			}
		}
	}
	return all, nil
}

// measureScales measures every scale against the smallest one. The largest is held to what is asked for, too.
func measureScales(ctx context.Context, o options, r *report.Report, progress io.Writer) error {
	all, err := rounds(ctx, o, progress, scaleTask, o.events)
	if err != nil {
		return err
	}
	for _, n := range o.pods {
		found := all[n]
		scale := fmt.Sprintf("%d pods, %d policies", n, cluster.New(n).Policies())
		r.Setting[fmt.Sprintf("the kernel's table with %7d pods", n)] = fmt.Sprintf("%.0f sets with %.0f elements, %.0f rules",
			report.Median(found[heldSets]), report.Median(found[heldElements]), report.Median(found[heldRules]))
		for _, m := range scaleMetrics() {
			m.Scale, m.Against = scale, fmt.Sprintf("%d pods", o.pods[0])
			m.Samples = report.Samples{Value: found[m.Metric], Baseline: all[o.pods[0]][m.Metric]}
			itself := n == o.pods[0] && len(o.pods) > 1
			if !itself && !slices.Contains(m.Samples.Baseline, 0) { // an event that changes nothing for the kernel has no transaction
				r.Metrics = append(r.Metrics, m)
			}
			if limit, ok := limits[m.Metric]; ok && n == slices.Max(o.pods) {
				m.Against, m.Bar = "what is asked for", &report.Bar{AtMost: 1}
				m.Samples.Baseline = slices.Repeat([]float64{limit}, len(m.Samples.Value))
				r.Metrics = append(r.Metrics, m)
			}
		}
	}
	return nil
}

// measureElements measures one change of a set against the same by nft.
func measureElements(ctx context.Context, o options, r *report.Report, progress io.Writer) error {
	all, err := rounds(ctx, o, progress, elementTask, o.changes)
	if err != nil {
		return err
	}
	for _, n := range o.pods {
		for _, what := range []string{kernelTime, usedTime, wallTime} {
			for _, against := range []struct{ way, name string }{{byCommand, "the nft command"}, {byOneNFT, "one nft for all, without its start"}} {
				m := report.Metric{
					Metric: "one element of a set, " + what, Unit: "µs", Scale: fmt.Sprintf("%d members", n), Against: against.name,
					Samples: report.Samples{Value: all[n][byApply+what], Baseline: all[n][against.way+what]},
				}
				if !slices.Contains(m.Samples.Baseline, 0) { // so little that no tick fell into it: too few changes
					r.Metrics = append(r.Metrics, m)
				}
			}
		}
	}
	return nil
}
