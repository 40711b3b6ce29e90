package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/warren-mesh/warren/mesh"
)

// metrics are the agent's own counts; what the kernel counts is read when it is asked for, by the kernelCollector.
type metrics struct {
	registry        *prometheus.Registry
	duration        *prometheus.HistogramVec
	failures        *prometheus.CounterVec
	syncs           prometheus.Counter
	publishes       prometheus.Counter
	publishFailures prometheus.Counter
	wireguard       prometheus.Counter
	rtnetlink       prometheus.Counter
	drift           *prometheus.CounterVec
	checkpoints     prometheus.Counter
	// checkpointFailures are of those.
	checkpointFailures prometheus.Counter
	calls              *prometheus.HistogramVec
	// callFailures are of those.
	callFailures *prometheus.CounterVec
	policy       policyMetrics
}

func newMetrics(a *Agent) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "warren_sync_duration_seconds", Help: "Time that one part of a sync took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"part"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warren_sync_failures_total", Help: "Syncs in which a part failed.",
		}, []string{"part"}),
		syncs:           counter("warren_syncs_total", "Syncs of the whole plan, with or without a change."),
		publishes:       counter("warren_publishes_total", "Times that this node's claim was written to its Node."),
		publishFailures: counter("warren_publish_failures_total", "Times that publishing failed."),
		wireguard:       counter("warren_wireguard_messages_total", "Configuration messages sent to WireGuard."),
		rtnetlink:       counter("warren_rtnetlink_messages_total", "Change messages sent to rtnetlink."),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warren_drift_total", Help: "Times that something others had changed in the kernel was put right, by its first part.",
		}, []string{"part"}),
		checkpoints: counter("warren_checkpoint_writes_total", "Times that the last good plan was written to disk."),
		checkpointFailures: counter("warren_checkpoint_failures_total",
			"Times that the last good plan could not be written to disk."),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "warren_cni_duration_seconds", Help: "Time that the agent took to answer the CNI plugin.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}, []string{"command"}),
		callFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "warren_cni_failures_total", Help: "Calls of the CNI plugin that were answered with an error.",
		}, []string{"command"}),
	}
	m.policy = newPolicyMetrics(m.registry)
	m.registry.MustRegister(m.duration, m.failures, m.syncs, m.publishes, m.publishFailures, m.wireguard, m.rtnetlink, m.drift,
		m.checkpoints, m.checkpointFailures, m.calls, m.callFailures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), kernelCollector{a})
	return m
}

func (m *metrics) wireguardSent(n int) { m.wireguard.Add(float64(n)) }
func (m *metrics) rtnetlinkSent(n int) { m.rtnetlink.Add(float64(n)) }

// called records one call of the CNI plugin.
func (m *metrics) called(command string, took time.Duration, err error) {
	m.calls.WithLabelValues(command).Observe(took.Seconds())
	if err != nil {
		m.callFailures.WithLabelValues(command).Inc()
	}
}

// observe records one part of a sync.
func (m *metrics) observe(part string, start time.Time, err error) {
	m.duration.WithLabelValues(part).Observe(time.Since(start).Seconds())
	if err != nil {
		m.failures.WithLabelValues(part).Inc()
	}
}

// synced records a whole sync.
func (m *metrics) synced(took time.Duration, err error) {
	m.syncs.Inc()
	m.duration.WithLabelValues("all").Observe(took.Seconds())
	if err != nil {
		m.failures.WithLabelValues("all").Inc()
	}
}

var (
	peersDesc     = desc("warren_peers", "Peers in the plan.")
	refusedDesc   = desc("warren_refused_claims", "Claims and grants that are not used.", "reason")
	waitingDesc   = desc("warren_waiting_nodes", "Nodes without a published key, a pod CIDR or a NodeKey.")
	inClearDesc   = desc("warren_in_clear_nodes", "Nodes to which pods' packets may leave in clear, since this node is migrated from another network.")
	handshakeDesc = desc("warren_peer_last_handshake_seconds", "Age of the last handshake with a peer.", "node")
	receiveDesc   = desc("warren_peer_receive_bytes_total", "Bytes received from a peer.", "node")
	transmitDesc  = desc("warren_peer_transmit_bytes_total", "Bytes sent to a peer.", "node")
	stoppedDesc   = desc("warren_clear_stopped_bytes_total", "Bytes of pod traffic stopped from leaving in clear.")
	stoppedNDesc  = desc("warren_clear_stopped_packets_total", "Packets of pod traffic stopped from leaving in clear.")
	droppedDesc   = desc("warren_guard_dropped_packets_total", "Packets that the guard dropped.", "reason")
	upDesc        = desc("warren_wireguard_up", "1 if the WireGuard device answers.")
	leasesDesc    = desc("warren_leases", "Addresses of pods, by the pod CIDR or block that they are from, and its pool.", "prefix", "pool")
	poolDesc      = desc("warren_pool_size", "Addresses that pods may have.", "prefix", "pool")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// kernelCollector reads WireGuard and the guard when somebody asks: nothing is polled.
type kernelCollector struct{ agent *Agent }

// Describe implements prometheus.Collector.
func (c kernelCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{peersDesc, refusedDesc, waitingDesc, inClearDesc, handshakeDesc, receiveDesc, transmitDesc, stoppedDesc,
		stoppedNDesc, droppedDesc, upDesc, leasesDesc, poolDesc, policyHeldDesc, policyEvaluationsDesc, policedDesc, unpolicedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c kernelCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	c.collectPolicy(gauge, count)
	if c.agent.config.Mode == PolicyOnly {
		gauge(policedDesc, float64(c.agent.theirs.policed()))
		gauge(unpolicedDesc, float64(len(c.agent.theirs.looseTexts())))
		return
	}
	c.collectResult(gauge)
	for _, use := range c.agent.poolUses() {
		gauge(leasesDesc, float64(use.Leased), use.Prefix.String(), use.Pool)
		gauge(poolDesc, float64(use.Size), use.Prefix.String(), use.Pool)
	}
	if counters, err := c.agent.guard.Counters(); err == nil {
		count(stoppedDesc, float64(counters.Clear.Bytes))
		count(stoppedNDesc, float64(counters.Clear.Packets))
		for reason, n := range counters.ByReason() {
			count(droppedDesc, float64(n.Packets), reason)
		}
	}
	peers, err := c.agent.Peers()
	if err != nil {
		gauge(upDesc, 0)
		return
	}
	gauge(upDesc, 1)
	for _, p := range peers {
		if p.Node == "" {
			continue // Not in the plan (yet, or any more).
		}
		if !p.LastHandshake.IsZero() {
			gauge(handshakeDesc, time.Since(p.LastHandshake).Seconds(), p.Node)
		}
		count(receiveDesc, float64(p.ReceiveBytes), p.Node)
		count(transmitDesc, float64(p.TransmitBytes), p.Node)
	}
}

func (c kernelCollector) collectResult(gauge func(*prometheus.Desc, float64, ...string)) {
	c.agent.mu.Lock()
	result := c.agent.result
	c.agent.mu.Unlock()
	gauge(peersDesc, float64(peersOf(result.Plan)))
	gauge(waitingDesc, float64(len(result.Waiting)))
	gauge(inClearDesc, float64(len(result.InClear)))
	refused := make(map[mesh.Reason]int)
	for _, r := range result.Refusals {
		refused[r.Reason]++
	}
	for _, reason := range mesh.Reasons {
		gauge(refusedDesc, float64(refused[reason]), string(reason))
	}
}
