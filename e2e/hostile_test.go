package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/mesh"
)

// hostile is a lab of three nodes: n1 is the attacker, whose agent is away so that nobody mends what it does, n2 the victim and n3
// the third. n1 has the credentials that a node has: its kubelet's, and its agent's token, which is also what a thief of it has.
type hostile struct {
	*scene
	clients map[string]rest.Interface
	// honest is what n1's own agent published.
	honest map[string]string
	// looks is what the refusers hold of the mesh with n1's honest claim, and without n1, by node.
	with, without map[string]string
}

// refusers are those whom n1 wants to deceive.
var refusers = []string{"n2", "n3"}

// TestAHostileNode: whatever n1 says by its kubelet's credential or its agent's token, the API server refuses, or every other node
// does, which tells so; what is honest stays in use, and the victim loses no packet.
func TestAHostileNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(5*time.Minute)) // there are many
	defer cancel()
	h := newHostile(ctx, t)
	claims := h.claims(ctx, t)
	quietly := func(name string, attack func(t *testing.T)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			stream := h.stream(ctx, t, "n2", "n3")
			defer func() { h.unharmed(ctx, t, stream) }()
			attack(t)
		})
	}
	quietly("claims", func(t *testing.T) {
		there, back := "", "/status"
		for _, c := range claims {
			t.Run(c.name, func(t *testing.T) { h.claimed(ctx, t, c, there, back) })
			there, back = back, there
		}
		h.told(ctx, t, claims)
	})
	quietly("flood", func(t *testing.T) { h.flood(ctx, t) })
	quietly("NodeKeys", func(t *testing.T) { h.nodeKeysOfOthers(ctx, t) })
	quietly("tokens of others", func(t *testing.T) { h.tokensOfOthers(ctx, t) })
	quietly("bytes that are no text", func(t *testing.T) { h.noText(ctx, t) })
	t.Run("a stolen key, by an older Node, everybody cold", func(t *testing.T) { h.stolenKey(ctx, t) })
	quietly("its Node anew", func(t *testing.T) { h.nodeAnew(ctx, t) })
	t.Run("a stolen key, by a younger Node, everybody cold", func(t *testing.T) { h.stolenKey(ctx, t) })
	h.sealed(ctx, t)
}

// unharmed ends a stream between the victim and the third, and wants nothing of it lost.
func (s *scene) unharmed(ctx context.Context, t *testing.T, stream *lab.Stream) {
	t.Helper()
	result := stream.Stop()
	t.Logf("between the victim and the third: %s", result)
	if result.Lost == 0 && result.Sent > 0 {
		return
	}
	t.Errorf("between the victim and the third: %s, want none lost", result)
	for _, name := range refusers { // the machine's own share, if it is that
		t.Logf("%s: %s", name, run(ctx, t, &s.pod(name).Host, "", "sh", "-c", "grep -E '^(Ip|Udp):' /proc/net/snmp; ip -s link show eth0"))
		t.Logf("%s: %s", name, run(ctx, t, &s.Node(name).Host, "", "sh", "-c", "grep -E '^(Ip|Udp):' /proc/net/snmp; ip -s link"))
	}
}

func newHostile(ctx context.Context, t *testing.T) *hostile {
	t.Helper()
	h := &hostile{scene: newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual}), with: map[string]string{}, without: map[string]string{}}
	h.meshed(ctx, t)
	h.honest, h.clients = h.claim(ctx, t, "n1"), admissionClients(ctx, t, h.Lab)
	if err := h.Node("n1").StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	h.learn(ctx, t)
	return h
}

// learn takes down how the refusers look with n1's honest claim, which it has, and without n1.
func (h *hostile) learn(ctx context.Context, t *testing.T) {
	t.Helper()
	look := func(at map[string]string, peers string) {
		t.Helper()
		for _, name := range refusers {
			eventually(ctx, t, 10*time.Second, func() error {
				if status := run(ctx, t, &h.Node(name).Host, "", "warren", "status"); !strings.Contains(status, peers) {
					return fmt.Errorf("%s: %s", name, status)
				}
				return nil
			})
			at[name] = h.look(ctx, t, name)
		}
	}
	look(h.with, "peers: 2")
	h.annotate(ctx, t, "n1", map[string]any{mesh.AnnotationPublicKey: nil})
	look(h.without, "peers: 1")
	h.annotate(ctx, t, "n1", map[string]any{mesh.AnnotationPublicKey: h.honest[mesh.AnnotationPublicKey]})
	h.believed(ctx, t)
}

// look is a node's plan, and what the kernel has of it.
func (h *hostile) look(ctx context.Context, t *testing.T, node string) string {
	t.Helper()
	return run(ctx, t, &h.Node(node).Host, "", "sh", "-ec",
		"warren plan; wg show warren0 allowed-ips | sort; ip route show table all proto 87; ip -6 route show table all proto 87")
}

// believed waits until the refusers use n1's honest claim, and nothing more of n1.
func (h *hostile) believed(ctx context.Context, t *testing.T) {
	t.Helper()
	h.judged(ctx, t, hostileClaim{name: "honest"})
}

// judged waits until every refuser has refused what is to be refused of a claim, and holds what it should.
func (h *hostile) judged(ctx context.Context, t *testing.T, c hostileClaim) {
	t.Helper()
	for _, name := range refusers {
		want := h.with[name]
		if c.leftOut {
			want = h.without[name]
		}
		eventually(ctx, t, 10*time.Second, func() error {
			if err := c.refusedBy(run(ctx, t, &h.Node(name).Host, "", "warren", "status")); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if diff := cmp.Diff(want, h.look(ctx, t, name)); diff != "" {
				return fmt.Errorf("%s: plan and kernel (-want +got):\n%s", name, diff)
			}
			metric := fmt.Sprintf("warren_refused_claims{reason=%q} %d\n", c.reason, len(c.values))
			if c.reason != "" && !strings.Contains(scrape(ctx, t, h.Node(name)), metric) {
				return fmt.Errorf("%s: no metric %q", name, metric)
			}
			return nil
		})
	}
}

// refusedBy looks for the refusals in what `warren status` says: one for each value, and no more.
func (c hostileClaim) refusedBy(status string) error {
	var lines []string
	for line := range strings.Lines(status) {
		if strings.HasPrefix(line, "refused of ") {
			lines = append(lines, line)
		}
	}
	for _, value := range c.values {
		said := func(line string) bool {
			return strings.HasPrefix(line, fmt.Sprintf("refused of n1 (%s): ", c.reason)) && strings.Contains(line, value)
		}
		if !slices.ContainsFunc(lines, said) {
			return fmt.Errorf("nothing is refused as %s that says %q: %.2000q", c.reason, value, lines)
		}
	}
	if len(lines) != len(c.values) {
		return fmt.Errorf("%d refusals, want %d: %.2000q", len(lines), len(c.values), lines)
	}
	return nil
}

// annotations is a merge patch of a claim, as far as it differs from n1's honest one, with the label by which everybody is told.
func (h *hostile) annotations(c hostileClaim) string {
	if c.raw != "" {
		return c.raw
	}
	claim := map[string]any{claimMore: nil}
	for _, part := range []map[string]string{h.honest, c.claim} {
		for name, value := range part {
			claim[name] = value
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": claim, "labels": labelled}})
	if err != nil {
		return err.Error()
	}
	return string(patch)
}

// claimed has a claim made: by the kubelet, of others' Nodes, and by the agent's token of its own, each through the Node and through
// its status. What is taken goes in by one way and is taken back by the other, in turn.
func (h *hostile) claimed(ctx context.Context, t *testing.T, c hostileClaim, there, back string) {
	t.Helper()
	body := h.annotations(c)
	for _, part := range []string{"", "/status"} {
		for _, a := range []attempt{
			{kubelet1, "merge", "nodes/n1" + part, body, kubeletNotOurs},
			{kubelet1, "merge", "nodes/n2" + part, body, notTheirNode},
			{agent1, "merge", "nodes/n2" + part, body, notItsNode},
			{agent1, "merge", "nodes/n3" + part, body, notItsNode},
		} {
			if c.api != "" && a.want != notTheirNode {
				a.want = c.api
			}
			a.check(ctx, t, h.clients)
		}
	}
	attempt{agent1, "merge", "nodes/n1" + there, body, c.api}.check(ctx, t, h.clients)
	h.judged(ctx, t, c)
	if c.api == allowed {
		attempt{agent1, "merge", "nodes/n1" + back, h.annotations(hostileClaim{}), allowed}.check(ctx, t, h.clients)
		h.believed(ctx, t)
	}
}

// told looks for the Events: every refuser has told of every reason, each once however often it came about.
func (h *hostile) told(ctx context.Context, t *testing.T, claims []hostileClaim) {
	t.Helper()
	want := map[string]int{}
	for _, c := range claims {
		for _, name := range refusers {
			if c.reason != "" {
				want[name+" "+string(c.reason)] = 1
			}
		}
	}
	eventually(ctx, t, 10*time.Second, func() error {
		if diff := cmp.Diff(want, h.events(ctx, t)); diff != "" {
			return fmt.Errorf("events about n1 (-want +got):\n%s", diff)
		}
		return nil
	})
}

// events counts the refusers' Events about n1, by who tells and why.
func (h *hostile) events(ctx context.Context, t *testing.T) map[string]int {
	t.Helper()
	all, err := h.Cluster().Admin().EventsV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, e := range all.Items {
		if e.Related != nil && e.Related.Name == "n1" && slices.Contains(refusers, e.Regarding.Name) {
			got[e.Regarding.Name+" "+e.Reason]++
		}
	}
	return got
}

// flood has n1's claim change as fast as the API server takes it. It costs the others no packet, and the API server no Events.
func (h *hostile) flood(ctx context.Context, t *testing.T) {
	t.Helper()
	before, start := h.events(ctx, t), time.Now()
	const changes = 100
	for i := range changes {
		claim := map[string]string{mesh.AnnotationPodCIDRs: fmt.Sprintf("10.244.%d.0/24", 100+i)}
		body := h.annotations(hostileClaim{claim: claim})
		attempt{agent1, "merge", "nodes/n1", body, allowed}.check(ctx, t, h.clients)
	}
	took := time.Since(start)
	attempt{agent1, "merge", "nodes/n1", h.annotations(hostileClaim{}), allowed}.check(ctx, t, h.clients)
	h.believed(ctx, t)
	if diff := cmp.Diff(before, h.events(ctx, t)); diff != "" {
		t.Errorf("Events of %d changes (-before +after):\n%s", changes, diff)
	}
	t.Logf("%d changes within %s", changes, took.Round(time.Millisecond))
}
