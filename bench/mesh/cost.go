package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watcher is one of the two that see every heartbeat: the agent, and the informer it is compared with.
type watcher struct {
	process
	relay *relay

	usedCPU time.Duration
	got     int64
}

// begin takes note of what was used so far, and end makes it what was used since.
func (w *watcher) begin() (err error) {
	w.got = w.relay.bytes()
	w.usedCPU, err = w.cpu()
	return err
}

func (w *watcher) end() error {
	used, err := w.cpu()
	w.usedCPU, w.got = used-w.usedCPU, w.relay.bytes()-w.got
	return err
}

// load is heartbeats for a while.
type load struct {
	name         string
	period, span time.Duration
	// asked says whether the bars are for this one.
	asked bool
}

// heartbeats measures what those of all Nodes cost the agent, and what they cost a full Node informer.
func (s *scene) heartbeats(ctx context.Context, nodes int, l load, agent, full *watcher) error {
	if err := errors.Join(agent.begin(), full.begin()); err != nil {
		return err
	}
	start := time.Now()
	beats, err := s.fleet.beat(ctx, l.period, l.span)
	if err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond) // the last ones are on their way
	took := time.Since(start)
	if err := errors.Join(agent.end(), full.end(), ctx.Err()); err != nil {
		return err
	}
	s.say("%d Nodes: %s: %d in %s, %.0f a second", nodes, l.name, beats, took.Round(time.Second), float64(beats)/took.Seconds())
	percent := func(used time.Duration) float64 { return 100 * used.Seconds() / took.Seconds() }
	cpu := figure{Metric: "CPU, " + l.name, Nodes: nodes, Value: percent(agent.usedCPU), Unit: "% of a core"}
	cpu = cpu.against("full Node informer", percent(full.usedCPU))
	got := figure{Metric: "bytes a heartbeat, " + l.name, Nodes: nodes, Value: float64(agent.got) / float64(beats), Unit: "B"}
	got = got.against("full Node informer", float64(full.got)/float64(beats))
	if l.asked {
		cpu, got = cpu.atMost(idlePercent), got.ratioAtMost(bytesRatio)
	}
	s.report.add(cpu)
	s.report.add(got)
	rate := figure{Metric: "heartbeats a second, " + l.name, Nodes: nodes, Value: float64(beats) / took.Seconds(), Unit: "1/s"}
	s.report.add(rate.against("asked for", float64(nodes)/l.period.Seconds()))
	return nil
}

// memory reports what the two have in memory.
func (s *scene) memory(nodes int, agent, full process) error {
	now, peak, err := agent.memory()
	if err != nil {
		return err
	}
	fullNow, fullPeak, err := full.memory()
	if err != nil {
		return err
	}
	steady := figure{Metric: "RSS of the agent, steady", Nodes: nodes, Value: now, Unit: "MiB"}
	s.report.add(steady.against("full Node informer", fullNow).atMost(memoryMiB))
	most := figure{Metric: "RSS of the agent, peak", Nodes: nodes, Value: peak, Unit: "MiB"}
	s.report.add(most.against("full Node informer", fullPeak).atMost(memoryMiB))
	return nil
}

func (s *scene) size(metric string, nodes int, bytes, baseline int64) figure {
	const mib = 1 << 20
	f := figure{Metric: metric, Nodes: nodes, Value: float64(bytes) / mib, Unit: "MiB"}
	return f.against("full Node informer", float64(baseline)/mib)
}

// events measures single changes, and reports what they cost.
func (s *scene) events(ctx context.Context, nodes int) error {
	d, err := s.churn(ctx)
	if err != nil {
		return err
	}
	if d.hand, err = s.eventsByHand(ctx); err != nil {
		return err
	}
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		own := figure{Metric: "event to programmed, own time, " + q.name, Nodes: nodes, Value: quantile(d.own, q.share), Unit: "ms", Samples: d.own}
		own = own.against("the bare messages", quantile(d.hand, q.share))
		if q.name == "p99" {
			own = own.atMost(ownMilliseconds)
		}
		s.report.add(own)
		s.report.add(figure{Metric: "request to event, the API's time, " + q.name, Nodes: nodes, Value: quantile(d.api, q.share), Unit: "ms"})
	}
	for _, k := range s.kinds() {
		s.report.add(figure{Metric: "own time, " + k.name + ", p50", Nodes: nodes, Value: quantile(d.byKind[k.name], 0.5), Unit: "ms", Samples: d.byKind[k.name]})
		for _, m := range []struct {
			to          string
			sent, needs float64
		}{{"WireGuard", d.wireguard[k.name], k.wireguard}, {"rtnetlink", d.rtnetlink[k.name], k.rtnetlink}} {
			f := figure{Metric: fmt.Sprintf("messages to %s, %s", m.to, k.name), Nodes: nodes, Value: m.sent, Unit: "messages"}
			s.report.add(f.against("what changes", m.needs).bar(m.sent <= m.needs, "<= %g", m.needs))
		}
	}
	return nil
}

// eventsByHand has peers come and go on a device made by hand that holds the same mesh.
func (s *scene) eventsByHand(ctx context.Context) (took []float64, err error) {
	state, err := readState(s.node)
	if err != nil {
		return nil, err
	}
	h, _, err := newHand(ctx, s.hand, s.node)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.remove(ctx)) }()
	if _, err := h.configure(state); err != nil {
		return nil, err
	}
	for i := range s.options.events {
		state := one(newMember(maxFleet + i))
		for _, do := range []func(kernelState) (time.Duration, error){h.configure, h.withdraw} {
			d, err := do(state)
			if err != nil {
				return nil, err
			}
			took = append(took, milliseconds(d))
		}
	}
	return took, nil
}
