package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The bars.
const (
	ownMilliseconds = 20
	syncRatio       = 1.3
	memoryMiB       = 80
	idlePercent     = 0.5
	bytesRatio      = 0.1
)

// How often kubelets report their status when nothing changes, and how often as stress.
const (
	idlePeriod   = 5 * time.Minute
	stressPeriod = 10 * time.Second
)

// measure measures everything with so many Nodes.
func (s *scene) measure(ctx context.Context, nodes int) (err error) {
	if err := s.fleet.grow(ctx, nodes); err != nil {
		return err
	}
	s.say("%d Nodes: first sync", nodes)
	if err := s.firstSync(ctx, nodes); err != nil {
		return err
	}
	node, err := s.fleet.admin.CoreV1().Nodes().Get(ctx, s.fleet.members[0].name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	s.report.Setting = s.setting(ctx, node)
	s.say("%d Nodes: heartbeats", nodes)
	if err := s.watching(ctx, nodes); err != nil {
		return err
	}
	s.say("%d Nodes: churn", nodes)
	if err := s.events(ctx, nodes); err != nil {
		return err
	}
	return s.clean(ctx)
}

func (s *scene) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// firstSync starts agents on a clean node, in turn with the same configuration handed over by hand. The last one is left.
func (s *scene) firstSync(ctx context.Context, nodes int) error {
	var agent, hand []float64
	for i := range s.options.starts {
		if i > 0 {
			if err := s.clean(ctx); err != nil {
				return err
			}
		}
		first, err := s.startAgent(ctx, nodes)
		if err != nil {
			return err
		}
		if first.peers != nodes {
			return fmt.Errorf("the first plan has %d peers, want %d", first.peers, nodes)
		}
		took, err := s.allByHand(ctx)
		if err != nil {
			return err
		}
		agent, hand = append(agent, milliseconds(first.took)), append(hand, milliseconds(took))
		s.say("%d Nodes: first sync %.0f ms, by hand %.0f ms", nodes, milliseconds(first.took), milliseconds(took))
	}
	f := figure{Metric: "first sync, p50", Nodes: nodes, Value: quantile(agent, 0.5), Unit: "ms", Samples: agent}
	s.report.add(f.against("wgctrl and netlink in one go", quantile(hand, 0.5)).ratioAtMost(syncRatio))
	return nil
}

// allByHand hands what the agent has made to a device made by hand. The device's making counts, as the agent's does.
func (s *scene) allByHand(ctx context.Context) (took time.Duration, err error) {
	state, err := readState(s.node)
	if err != nil {
		return 0, err
	}
	h, made, err := newHand(ctx, s.hand, s.node)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.remove(ctx)) }()
	configured, err := h.configure(state)
	return made + configured, err
}

// watching measures a start's bytes, what the heartbeats of all Nodes cost, and what is in memory after them.
func (s *scene) watching(ctx context.Context, nodes int) (err error) {
	if err := s.node.StopAgent(ctx); err != nil {
		return err
	}
	agent, full := &watcher{relay: s.agentBytes}, &watcher{relay: s.informerBytes}
	agentBefore, fullBefore := agent.relay.bytes(), full.relay.bytes()
	since := func() (int64, int64) { return agent.relay.bytes() - agentBefore, full.relay.bytes() - fullBefore }
	if _, err := s.startAgent(ctx, nodes); err != nil {
		return err
	}
	informer, err := startFullWatch(ctx, s.node, s.informerKubeconfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, informer.stop()) }()
	full.process = informer.process
	if agent.process, err = agentOf(s.node); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // what a start leaves to do
	listed, listedFull := since()
	s.report.add(s.size("bytes of the first list", nodes, listed, listedFull))
	for _, l := range []load{
		{"heartbeats each 5 min", idlePeriod, s.options.idle, true}, {"heartbeats each 10 s", stressPeriod, s.options.stress, false},
	} {
		if err := s.heartbeats(ctx, nodes, l, agent, full); err != nil {
			return err
		}
	}
	total, totalFull := since()
	s.report.add(s.size("bytes, list and heartbeats", nodes, total, totalFull).ratioAtMost(bytesRatio))
	return s.memory(nodes, agent.process, full.process)
}

// compareScales adds how what an event costs grows with the number of Nodes.
func (s *scene) compareScales() {
	least := s.options.nodes[0]
	for _, n := range s.options.nodes[1:] {
		small, large := s.report.messages(least), s.report.messages(n)
		f := figure{Metric: "messages of one event of each kind", Nodes: n, Value: large, Unit: "messages"}
		s.report.add(f.against(fmt.Sprintf("at %d nodes", least), small).ratioAtMost(1))
	}
}
