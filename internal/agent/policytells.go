package agent

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/warren-mesh/warren/policy/drops"
	"github.com/warren-mesh/warren/policy/nft"
)

// tells are what is told of policy to who asks. Enforcement does not wait for any of it.
type tells struct {
	// asking is held while a question has its world: one at a time.
	asking sync.Mutex
	// logGroup is the kernel's log of denied packets; zero where it has none.
	logGroup uint16
	drops    dropLog
	preview  preview
	metrics  tellMetrics
}

// dropGroup is the number of the kernel's log group that denied packets are told to.
const dropGroup = 51820

// openTells looks whether the kernel can tell of packets: without, it would take no rule that logs.
func (a *Agent) openTells(ctx context.Context) {
	e := &a.enforcement
	e.metrics = newTellMetrics(a.metrics.registry, e)
	e.drops.open()
	a.openPreview()
	if err := drops.Probe(ctx, dropGroup); err != nil {
		a.logger.Warn("denied packets are counted, and not told of: the kernel needs nfnetlink_log for that", zap.Error(err))
		return
	}
	e.logGroup = dropGroup
}

// tell follows denied packets and flows until ctx ends.
func (a *Agent) tell(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { a.enforcement.preview.loop.Run(ctx) })
	if a.enforcement.logGroup != 0 {
		running.Go(func() { a.followDrops(ctx) })
		running.Go(func() { a.nameDrops(ctx) })
	}
	running.Wait()
}

// tellMetrics count what was told of, and what was not.
type tellMetrics struct {
	drops        *prometheus.CounterVec
	wouldDeny    *prometheus.CounterVec
	previewFlows *prometheus.CounterVec
}

func newTellMetrics(registry *prometheus.Registry, e *enforcement) tellMetrics {
	m := tellMetrics{
		drops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warren_policy_drop_records_total", Help: "Records of denied packets within the rules' limits: kept, or lost on their way from the kernel.",
		}, []string{"outcome"}),
		wouldDeny: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warren_policy_preview_would_deny_total", Help: "Flows that a previewed policy would have cut at pods of this node.",
		}, []string{"kind", "namespace", "policy"}),
		previewFlows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warren_policy_preview_flows_total", Help: "New flows of this node's pods while a policy was previewed: judged by it, or not for there were too many.",
		}, []string{"outcome"}),
	}
	registry.MustRegister(m.drops, m.wouldDeny, m.previewFlows, droppedCollector{e})
	return m
}

var deniedDesc = desc("warren_policy_denied_packets_total", "Packets that policy dropped, by the pod's side and the reason.", "direction", "reason")

// droppedCollector reads the kernel's counters when somebody asks.
type droppedCollector struct{ e *enforcement }

// Describe implements prometheus.Collector.
func (c droppedCollector) Describe(ch chan<- *prometheus.Desc) { ch <- deniedDesc }

// Collect implements prometheus.Collector. There is nothing where the table cannot be read.
func (c droppedCollector) Collect(ch chan<- prometheus.Metric) {
	if c.e.table == nil {
		return
	}
	dropped, err := c.e.table.Dropped()
	if err != nil {
		return
	}
	for _, d := range dropped {
		ch <- prometheus.MustNewConstMetric(deniedDesc, prometheus.CounterValue, float64(d.Packets), directionOf(d), reasonOf(d))
	}
}

// directionOf is empty for revoked flows, which neither side began to deny.
func directionOf(d nft.Dropped) string {
	if d.Revoked {
		return ""
	}
	return d.Direction.String()
}

func reasonOf(d nft.Dropped) string {
	switch {
	case d.Unbound:
		return noRulesYet
	case d.Revoked:
		return string(drops.ByRevocation)
	case d.Spoofed:
		return string(drops.BySource)
	}
	return string(drops.ByRule)
}
