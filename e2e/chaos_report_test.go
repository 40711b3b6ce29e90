package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// record is what came of an order.
type record struct {
	order
	// took is from the end of the fault until the mesh was seen to be whole, the seeing included.
	took time.Duration
	// sent and lost are the datagrams on pairs that the fault may disturb, spared and sparedLost those on all others.
	sent, lost, spared, sparedLost int
	failures                       []string
}

// quantile is the smallest duration that at least this share of all is not above.
func quantile(all []time.Duration, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// summary is a run's figures.
type summary struct {
	seed            uint64
	began           time.Time
	lasted          time.Duration
	version         string
	kernel, device  string
	packets, others int
	leaks           int
	records         []record
	growths         []growth
	failures        []string
}

// times are how long the mesh took to be whole, by kind.
func (s summary) times() map[string][]time.Duration {
	times := map[string][]time.Duration{}
	for _, r := range s.records {
		times[r.kind()] = append(times[r.kind()], r.took)
	}
	return times
}

func (s summary) all() (all []time.Duration) {
	for _, r := range s.records {
		all = append(all, r.took)
	}
	return all
}

// lost is what a kind cost, in datagrams.
func (s summary) lost(kind string) (sent, lost, most int) {
	for _, r := range s.records {
		if r.kind() == kind {
			sent, lost, most = sent+r.sent, lost+r.lost, max(most, r.lost)
		}
	}
	return sent, lost, most
}

func (s summary) spared() (sent, lost int) {
	for _, r := range s.records {
		sent, lost = sent+r.spared, lost+r.sparedLost
	}
	return sent, lost
}

// markdown is docs/chaos.md.
func (s summary) markdown() string {
	var b strings.Builder
	all := s.all()
	spared, sparedLost := s.spared()
	fmt.Fprintf(&b, `# Chaos

Written by `+"`make chaos`"+`, which does %d random faults in a row to one lab of three nodes, two pods each, IPv4 and IPv6, and looks at
packets: after each fault every pod must reach every pod again, both ways, within %s of the fault's end, and all that Warren
keeps must be as it was before the first fault: links, addresses, routes, nftables, peers, their allowed IPs and endpoints, annotations,
NodeKeys. One fault in five has a second at the same time, on another node. The underlay is captured from before the first agent's start.

| | |
| --- | --- |
| seed | %d |
| begun | %s, lasted %s |
| version | %s |
| kernel, device | %s, %s |
| faults | %d |
| failures | %d |
| mesh whole after | p50 %s, p99 %s, worst %s |
| in clear on the underlay | %d of %d frames (%d of them WireGuard's), the capture proven on every node and after every reboot |
| lost by pairs that no fault may disturb | %d of %d datagrams |

`, len(s.records), wholeWithin, s.seed, s.began.UTC().Format("2006-01-02 15:04 MST"), s.lasted.Round(time.Second), s.version, s.kernel, s.device,
		len(s.records), len(s.failures), ms(quantile(all, 0.5)), ms(quantile(all, 0.99)), ms(slices.Max(all)),
		s.leaks, s.packets+s.others, s.packets, sparedLost, spared)
	s.kinds(&b)
	s.growth(&b)
	if len(s.failures) > 0 {
		b.WriteString("## Failures\n\n")
		for _, f := range s.failures {
			fmt.Fprintf(&b, "```\n%s\n```\n\n", f)
		}
	}
	return b.String()
}

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }

func (s summary) kinds(b *strings.Builder) {
	fmt.Fprintf(b, `## By kind

The time is from the fault's end (a cut that is healed, an agent that is started again, an API server that is ready) until the mesh was seen whole;
the look itself is part of it. Loss is of the %d datagrams a second, each way, of every pair that the fault may disturb, from before
the fault until the mesh is whole; a dash where the kind disturbs none.

| fault | times | p50 | p99 | worst | lost | worst once |
| --- | --- | --- | --- | --- | --- | --- |
`, time.Second/streamInterval)
	times := s.times()
	for _, kind := range slices.Sorted(maps.Keys(times)) {
		t := times[kind]
		sent, lost, most := s.lost(kind)
		loss := "- | -"
		if sent > 0 {
			loss = fmt.Sprintf("%d of %d | %d", lost, sent, most)
		}
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s | %s |\n", kind, len(t), ms(quantile(t, 0.5)), ms(quantile(t, 0.99)), ms(slices.Max(t)), loss)
	}
	b.WriteString("\n")
}

func (s summary) growth(b *strings.Builder) {
	limits := make([]string, len(measures))
	for i, m := range measures {
		limits[i] = fmt.Sprintf("%s %.0f%% and %.0f", m.name, 100*m.share, m.amount)
	}
	fmt.Fprintf(b, `## Growth

After each fault every process of Warren is looked at. For each that lived through at least %d looks, the least that it had in the first
tenth of them and the least in the last tenth; what is leaked is never given back, so it raises the least. Allowed beyond the
first: %s. Over 1,000 faults that finds a goroutine or descriptor that is leaked in one fault of a hundred
(`+"`TestGrowthIsSeen`"+`). A tunnel process does not tell its goroutines and heap. The longest lives of each kind:

| process | looks | %s |
| --- | --- |%s
`, minLife, strings.Join(limits, ", "), strings.Join(measureNames(), " | "), strings.Repeat(" --- |", len(measures)))
	longest := slices.SortedFunc(slices.Values(s.growths), func(a, b growth) int { return cmp.Compare(b.looks, a.looks) })
	for i, g := range longest {
		if i == 6 {
			fmt.Fprintf(b, "\nAnd %d more.\n", len(longest)-i)
			break
		}
		fmt.Fprintf(b, "| %s | %d |", g.process, g.looks)
		for m := range measures {
			if g.early[m] == 0 && g.late[m] == 0 {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(b, " %.4g to %.4g |", g.early[m], g.late[m])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func measureNames() []string {
	names := make([]string, len(measures))
	for i, m := range measures {
		names[i] = m.name
	}
	return names
}
