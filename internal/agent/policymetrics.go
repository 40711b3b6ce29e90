package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/policy/nft"
	"github.com/warren-mesh/warren/policy/revoke"
)

// policyMetrics are how long policy takes, and what the kernel is asked for it.
type policyMetrics struct {
	events   *prometheus.HistogramVec
	elements prometheus.Histogram
	duration prometheus.Histogram
	failures prometheus.Counter
	// settled is how long established flows go on that a change forbids, and listing what of that is for finding them.
	settled, listing prometheus.Histogram
	// revoked and restored count flows.
	revoked, restored, revokeFailures prometheus.Counter
}

func newPolicyMetrics(registry *prometheus.Registry) policyMetrics {
	m := policyMetrics{
		events: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "warren_policy_event_seconds", Help: "Time from when an object was heard of to when the kernel held what followed, by the object's kind.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
		}, []string{"kind"}),
		elements: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "warren_policy_transaction_elements", Help: "Elements of sets that came or went in one transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 10),
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "warren_policy_transaction_seconds", Help: "Time that one transaction took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "warren_policy_transaction_failures_total", Help: "Transactions that the kernel refused.",
		}),
	}
	m.settled = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "warren_policy_revocation_seconds", Help: "Time from when the kernel held a change to when established flows that it forbids were cut.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13),
	})
	m.listing = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "warren_policy_flows_listing_seconds", Help: "Time that it took to look for established flows that a change forbids.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13),
	})
	m.revoked = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "warren_policy_flows_revoked_total", Help: "Established flows that were cut, because a change of policy forbids them.",
	})
	m.restored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "warren_policy_flows_restored_total", Help: "Flows that had been cut and may begin again: policy allows them, or their pod is gone.",
	})
	m.revokeFailures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "warren_policy_revocation_failures_total", Help: "Times that looking for flows that a change forbids, or cutting them, failed.",
	})
	registry.MustRegister(m.events, m.elements, m.duration, m.failures, m.settled, m.listing, m.revoked, m.restored, m.revokeFailures)
	return m
}

// policed is told of a change that the kernel holds by now.
func (m *metrics) policed(c *kube.PolicyChange) {
	m.policy.events.WithLabelValues(string(c.Kind)).Observe(time.Since(c.Since).Seconds())
}

// settled is told what a look at established flows came to.
func (m *metrics) settled(r revoke.Result) {
	if r.Listing > 0 {
		m.policy.listing.Observe(r.Listing.Seconds())
	}
	m.policy.revoked.Add(float64(r.Revoked))
	m.policy.restored.Add(float64(r.Restored))
}

func (m *metrics) transacted(t nft.Transaction) {
	if t.Err != nil {
		m.policy.failures.Inc()
		return
	}
	m.policy.elements.Observe(float64(t.Elements))
	m.policy.duration.Observe(t.Duration.Seconds())
}

var (
	policyHeldDesc        = desc("warren_policy_objects", "What policy is made of on this node.", "what")
	policedDesc           = desc("warren_policy_pod_links", "With --mode=policy, links that lead to pods on which policy is enforced.")
	unpolicedDesc         = desc("warren_policy_unenforced_pods", "With --mode=policy, pods of this node on which policy is not enforced, or not on all that they send.")
	policyEvaluationsDesc = desc("warren_policy_selector_evaluations_total", "Times that labels were held against a selector.")
)

func (c kernelCollector) collectPolicy(gauge, count func(*prometheus.Desc, float64, ...string)) {
	e := &c.agent.enforcement
	if e.table == nil {
		return
	}
	e.mu.Lock()
	s := e.index.Stats()
	e.mu.Unlock()
	for what, n := range map[string]int{
		"pods": s.Pods, "policies": s.Policies, "selectors": s.Selectors, "sets": s.Sets, "members": s.Members, "ranges": s.Ranges,
		"chains": s.Chains, "rules": s.Rules, "local pods": s.Locals, "revoked flows": len(e.table.Revoked()),
	} {
		gauge(policyHeldDesc, float64(n), what)
	}
	count(policyEvaluationsDesc, float64(s.Evaluations))
}
