package nft

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/policytest"
)

// TestDifferential has the kernel hold what an index makes of a random history, and sends packets: those pass that the world at the end lets pass,
// by the reference evaluator, at both ends. What they are answered passes always. However the history is told, and in whatever batches, the kernel
// holds in the end what one transaction with all of it would have made.
func TestDifferential(t *testing.T) {
	w := newWire(t)
	table := newTable(t, Options{})
	o := policytest.Options{Pods: localPods + 4, Policies: 4, ClusterPolicies: 4, Unsound: true, Previews: true}
	policytest.Check(t, func(t *rapid.T) {
		h := policytest.Histories(o, localPods).Draw(t, "history")
		way := rapid.SampledFrom(policytest.Ways).Draw(t, "way")
		events := way.Of(t, h.Events)
		want := h.AtOnce().Ruleset()
		follow(t, table, events)
		if drift, err := table.Set(want); err != nil || drift != (Drift{}) {
			t.Fatalf("%s, the kernel has not what is wanted: %+v, %v\n%s", way.Name, drift, err, policytest.Describe(h.World))
		}
		if rapid.IntRange(0, 7).Draw(t, "listed") == 7 {
			compareListing(t, table, want)
		}
		v := judge{h.World, h.Locals}
		probes := v.sample(rapid.Uint32().Draw(t, "sample"))
		passed, err := exchange(w, probes)
		if err != nil {
			t.Fatalf("%s, %v\n%s", way.Name, err, policytest.Describe(h.World))
		}
		for i, passes := range passed {
			if p := probes[i].Packet; passes != v.passes(p) {
				t.Fatalf("%s, %s\n%s\n%s", way.Name, v.explain(p, passes), policytest.Describe(h.World), want)
			}
		}
	})
}

// follow has the kernel follow events: the first of them at once, the rest in batches.
func follow(t *rapid.T, table *Table, events []policytest.Event) {
	t.Helper()
	x := policy.NewIndex()
	known := rapid.IntRange(0, len(events)).Draw(t, "known")
	policytest.Tell(x, events[:known])
	x.Take()
	if _, err := table.Set(x.Ruleset()); err != nil {
		t.Fatal(err)
	}
	for rest := events[known:]; len(rest) > 0; {
		batch := rapid.IntRange(1, len(rest)).Draw(t, "batch")
		policytest.Tell(x, rest[:batch])
		rest = rest[batch:]
		if err := table.Apply(x.Take()); err != nil {
			t.Fatal(err)
		}
	}
}

// compareListing has the table made anew: nft lists the same.
func compareListing(t *rapid.T, table *Table, want policy.Ruleset) {
	t.Helper()
	listed := func() []string {
		out, err := nfttest.Try(list)
		if err != nil {
			t.Fatal(err, out)
		}
		return sorted(out)
	}
	before := listed()
	if _, err := Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Set(want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listed(), before); diff != "" {
		t.Fatalf("nft lists (-made at once +followed):\n%s", diff)
	}
}

// exchange sends datagrams, each of a connection of its own, and answers those that arrive. It says which do.
func exchange(w *wire, probes []datagram) ([]bool, error) {
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return nil, fmt.Errorf("forgetting all connections: %w", err)
	}
	arrived, err := w.send(probes)
	if err != nil {
		return nil, err
	}
	var answers []datagram
	for i, d := range probes {
		if arrived[i] && at(d.From) != onNode && at(d.To) != onNode { // A node answers by itself.
			d.reply = true
			answers = append(answers, d)
		}
	}
	answered, err := w.send(answers)
	if err != nil {
		return nil, err
	}
	if i := slices.Index(answered, false); i >= 0 {
		return nil, fmt.Errorf("the answer to %+v does not arrive", answers[i].Packet)
	}
	return arrived, nil
}

// judge is the reference.
type judge struct {
	policy.World
	locals []policy.Local
}

// subject is the pod of a link; ok is false for links that are no pods'. A pod of nobody is unknown to the world.
func (j judge) subject(link string) (k policy.PodKey, ok bool) {
	for _, l := range j.locals {
		if l.Interface == link {
			return l.PodKey, true
		}
	}
	return k, link != lane && link != world && link != onNode
}

// passes says whether a packet gets from its source to its destination.
func (j judge) passes(p policy.Packet) bool {
	for _, d := range []policy.Direction{policy.Egress, policy.Ingress} {
		if allowed, _ := j.side(d, p); !allowed {
			return false
		}
	}
	return true
}

func (j judge) side(d policy.Direction, p policy.Packet) (bool, policy.RuleID) {
	own, other := at(p.From), at(p.To)
	if d == policy.Ingress {
		own, other = other, own
	}
	subject, is := j.subject(own)
	if !is || d == policy.Ingress && other == onNode { // A node reaches whatever is on it.
		return true, policy.RuleID{}
	}
	return j.Judge(subject, d, p, other == onNode)
}

func (j judge) explain(p policy.Packet, passes bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v passes: %v", p, passes)
	for _, d := range []policy.Direction{policy.Egress, policy.Ingress} {
		allowed, by := j.side(d, p)
		fmt.Fprintf(&b, "; %s should be allowed: %v by %s", d, allowed, by)
	}
	return b.String()
}

// sampled is about how many of all packets are sent of a world.
const sampled = 1000

// sample draws from the packets that tell the world's policies apart. A packet that is drawn by a seed is drawn from lesser worlds too.
func (j judge) sample(seed uint32) (probes []datagram) {
	others := slices.Clone(nodeAddresses)
	for i := range localPods {
		others = append(others, policytest.PodAddresses(i)...)
	}
	all := slices.DeleteFunc(policytest.Packets(j.World, others...), func(p policy.Packet) bool {
		_, from := j.subject(at(p.From))
		_, to := j.subject(at(p.To))
		// Of two that have no ports to be told apart by, the second would be taken for the answer to the first.
		return !from && !to || p.Protocol == gre && p.From.Less(p.To) == (seed&1 == 0)
	})
	for _, p := range all {
		if uint64(draw(seed, p))*uint64(len(all)) <= sampled<<32 {
			probes = append(probes, datagram{Packet: p, id: uint16(20000 + len(probes))})
		}
	}
	return probes
}

func draw(seed uint32, p policy.Packet) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, seed))
	_, _ = fmt.Fprint(h, p)
	return h.Sum32()
}
