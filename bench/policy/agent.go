package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/bench/report"
)

const (
	// agentLocals is how many pods of the agent's node have a network: each is an ADD by the plugin.
	agentLocals = 10
	// agentEvents is how often each kind of event happens.
	agentEvents = 200
	// between is the time between two events: each comes alone.
	between = 10 * time.Millisecond
)

// apiEvent is a kind of event by a write to the API server. What the agent counts it as is kind; prepare, if any, is done before all of them.
type apiEvent struct {
	name, kind string
	prepare    func(s *apiScene, ctx context.Context, i int) error
	write      func(s *apiScene, ctx context.Context, i int) error
}

// agentKinds are the kinds of events that the agent is held against, by the names that they have without it.
var agentKinds = []apiEvent{
	{"pod add", "Pod", (*apiScene).createPod, (*apiScene).reportPod},
	{"pod relabel", "Pod", nil, (*apiScene).relabelPod},
	{"pod delete", "Pod", nil, (*apiScene).deletePod},
	{"namespace relabel", "Namespace", nil, (*apiScene).relabelNamespace},
	{"policy add", "NetworkPolicy", nil, (*apiScene).addPolicy},
	{"policy delete", "NetworkPolicy", nil, (*apiScene).deletePolicy},
}

// measureAgent holds what a real agent says of its own time, with events by way of a real API server, against the same index and table in a worker.
func measureAgent(ctx context.Context, o options, r *report.Report, progress io.Writer) (err error) {
	if o.agentPods == 0 {
		return nil
	}
	found, err := ask(ctx, scaleTask, o.agentPods, agentEvents)
	if err != nil {
		return err
	}
	s, err := newAPIScene(ctx, o.agentPods, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	scale := fmt.Sprintf("%d pods, %d policies", o.agentPods, s.Namespaces*perNamespace)
	add := func(metric, unit string, value, baseline float64, against string, bar *report.Bar) {
		r.Metrics = append(r.Metrics, report.Metric{
			Metric: "a real agent: " + metric, Unit: unit, Scale: scale, Against: against, Bar: bar,
			Samples: report.Samples{Value: []float64{value}, Baseline: []float64{baseline}},
		})
	}
	took, resident, err := s.startAgent(ctx)
	if err != nil {
		return err
	}
	add("first sync, with the API server and the agent's start", "s", took.Seconds(), found[firstSync], "index and table alone", nil)
	add("RSS", "MiB", resident, found[memoryAfter], "index and table alone", nil)
	for _, e := range agentKinds {
		times, err := s.measure(ctx, e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		fmt.Fprintf(progress, "policy: a real agent: %s: %.0f counted, p50 at most %s, p99 at most %s\n", e.name, times.count, times.within(50), times.within(99))
		for _, p := range []int{50, 99} {
			name := fmt.Sprintf("%s, p%d", e.name, p)
			value := microseconds(times.within(p))
			add(name+" at most", "µs", value, found[name], "index and table alone", nil)
			if limit, ok := limits[name]; ok {
				add(name+" at most", "µs", value, limit, "what is asked for", &report.Bar{AtMost: 1})
			}
		}
	}
	return nil
}

// measure has events of one kind happen, and returns what the agent counted of them.
func (s *apiScene) measure(ctx context.Context, e apiEvent) (histogram, error) {
	if e.prepare != nil {
		before, err := s.counted(ctx, e.kind)
		if err != nil {
			return histogram{}, err
		}
		for i := range agentEvents {
			if err := e.prepare(s, ctx, i); err != nil {
				return histogram{}, err
			}
		}
		if _, err := s.settled(ctx, e.kind, before); err != nil {
			return histogram{}, err
		}
	}
	before, err := s.counted(ctx, e.kind)
	if err != nil {
		return histogram{}, err
	}
	for i := range agentEvents {
		if err := e.write(s, ctx, i); err != nil {
			return histogram{}, err
		}
		time.Sleep(between)
	}
	return s.settled(ctx, e.kind, before)
}

// calm is after how long without an event no more is expected.
const calm = 2 * time.Second

// settled waits until the agent has counted what there was. Where it was late, several changes of one object are one event to it.
func (s *apiScene) settled(ctx context.Context, kind string, before histogram) (histogram, error) {
	found, err := s.since(ctx, kind, before, agentEvents/2)
	for last, since := found.count, time.Now(); err == nil && found.count < agentEvents && time.Since(since) < calm; {
		time.Sleep(between)
		if found, err = s.since(ctx, kind, before, agentEvents/2); found.count != last {
			last, since = found.count, time.Now()
		}
	}
	return found, err
}

// eventPod is the number of the i-th pod that events bring, in a namespace that has a pod on the agent's node.
func (s *apiScene) eventPod(i int) int {
	return s.NumberOf(s.Namespaces+s.localNamespace(i), i/agentLocals)
}

func (s *apiScene) localNamespace(i int) int { return i % agentLocals }

func (s *apiScene) createPod(ctx context.Context, i int) error {
	return s.createPodObject(ctx, s.eventPod(i))
}

func (s *apiScene) reportPod(ctx context.Context, i int) error {
	return s.reportAddresses(ctx, s.eventPod(i))
}

func (s *apiScene) relabelPod(ctx context.Context, i int) error {
	p := s.Pod(s.eventPod(i))
	patch := []byte(`{"metadata":{"labels":{"tier":"relabelled","app":"app-1"}}}`)
	_, err := s.admin.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (s *apiScene) deletePod(ctx context.Context, i int) error {
	p := s.Pod(s.eventPod(i))
	return s.admin.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
}

func (s *apiScene) relabelNamespace(ctx context.Context, i int) error {
	team := []string{"team-50", "team-0"}[i/agentLocals%2] // the first is none of theirs: each is a change
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"team":%q}}}`, team)
	_, err := s.admin.CoreV1().Namespaces().Patch(ctx, s.Namespace(s.localNamespace(i)).Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (s *apiScene) eventPolicy(i int) *networkingv1.NetworkPolicy {
	return s.NetworkPolicy(s.localNamespace(i), perNamespace+i)
}

func (s *apiScene) addPolicy(ctx context.Context, i int) error {
	p := s.eventPolicy(i)
	_, err := s.admin.NetworkingV1().NetworkPolicies(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
	return err
}

func (s *apiScene) deletePolicy(ctx context.Context, i int) error {
	p := s.eventPolicy(i)
	return s.admin.NetworkingV1().NetworkPolicies(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{})
}
