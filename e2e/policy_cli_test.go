package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/socket"
)

// toldPolicies are one of each kind that denies, and whom they keep from whom.
var toldPolicies = policyCase{
	policies: np("x", "web", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{podSelector: {matchLabels: {app: c}}}]
  ports: [{protocol: TCP, port: 7}]`) + np("z", "out", "podSelector: {matchLabels: {app: e}}\npolicyTypes: [Egress]") +
		cnp("no-d", "Admin", 7, `egress: [{name: none, action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: d}}}}]}]`),
	denied: []string{"b,d,e>a", "c>a/tcp8,udp,sctp,icmp", "e>b,c,d", "a,b,c>d"},
}

// TestPolicyCommands: what warren policy says is what happens to packets.
func TestPolicyCommands(t *testing.T) { //nolint:tparallel // its parts come one after the other
	t.Parallel()
	ctx := testContext(t)
	s := policyScene(ctx, t)
	if err := s.Cluster().Apply(ctx, []byte(toldPolicies.policies)); err != nil {
		t.Fatal(err)
	}
	s.reach(ctx, t, toldPolicies.denied...)
	t.Run("explain", func(t *testing.T) { s.explains(ctx, t) })
	t.Run("show", func(t *testing.T) { s.shows(ctx, t) })
	t.Run("drops", func(t *testing.T) { s.tellsDrops(ctx, t) })
	s.deletePolicies(ctx, t)
	s.reach(ctx, t)
	t.Run("preview", func(t *testing.T) { s.previews(ctx, t) })
}

func podOf(p *lab.Pod) string { return p.Namespace + "/" + p.Name }

// explained asks on a node, where a denial is an exit status of 1.
func explained(ctx context.Context, n *lab.Node, args ...string) (e socket.Explained, err error) {
	out, failed := n.Run(ctx, "warren", append([]string{"policy", "explain", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		return e, fmt.Errorf("%v: %q: %w", args, out, errors.Join(err, failed))
	}
	if (failed == nil) != e.Allowed || e.Behind != "" {
		return e, fmt.Errorf("%v: %+v, and ends with: %w", args, e, failed)
	}
	return e, nil
}

// explains asks at both nodes of every pair of pods, and wants what toldPolicies deny, by the rules that do.
func (s *scene) explains(ctx context.Context, t *testing.T) {
	t.Helper()
	asked := map[string]string{"tcp": "7", "tcp8": "8/tcp", "udp": "7/udp", "sctp": "7/sctp", "icmp": "icmp"}
	for _, from := range s.Pods() {
		for _, to := range s.Pods() {
			for _, proto := range protocols {
				if from == to {
					continue
				}
				here, err := explained(ctx, from.Node, podOf(from), podOf(to), asked[proto])
				there, otherErr := explained(ctx, to.Node, podOf(from), podOf(to), asked[proto])
				if err := errors.Join(err, otherErr); err != nil {
					t.Fatal(err)
				}
				if here.Words != there.Words {
					t.Errorf("on %s:\n%s\non %s:\n%s", from.Node.Name, here.Words, to.Node.Name, there.Words)
				}
				k := knock{from: from.Name, to: to.Name, proto: proto}
				if here.Denied != k.matches(toldPolicies.denied) {
					t.Errorf("packets of %s>%s/%s do otherwise:\n%s", k.from, k.to, k.proto, here.Words)
				}
			}
		}
	}
	for _, c := range []struct {
		args, want string
	}{
		{"z/d x/a echo", "egress from z/d: allowed: no policy selects it\n  ingress to x/a: denied: NetworkPolicy x/web isolates it, and no rule of it matches"},
		{"x/c x/a echo", "ingress to x/a: allowed: NetworkPolicy x/web, ingress[0]"},
		{"x/a z/d 7/udp", `egress from x/a: denied: ClusterNetworkPolicy no-d in tier Admin with priority 7, egress[0] "none": Deny`},
		{"z/e 192.0.2.1 53/udp", "egress from z/e: denied: NetworkPolicy z/out isolates it, and no rule of it matches"},
		{"node x/a 7", "ingress to x/a: allowed: its own node always reaches it"},
	} {
		out, _ := s.Node("n1").Run(ctx, "warren", append([]string{"policy", "explain"}, strings.Fields(c.args)...)...) // denial is told of as failure
		t.Logf("warren policy explain %s\n%s", c.args, out)
		if !strings.Contains(out, c.want) {
			t.Errorf("explain %s:\n%swant in it:\n%s", c.args, out, c.want)
		}
	}
}

// shows wants the policies anywhere, and what the kernel holds as nft lists it, on the pod's node.
func (s *scene) shows(ctx context.Context, t *testing.T) {
	t.Helper()
	n1 := s.Node("n1")
	out := run(ctx, t, &n1.Host, "", "warren", "policy", "show", "x/a")
	t.Logf("warren policy show x/a\n%s", out)
	for _, want := range []string{"  NetworkPolicy x/web\n    [0] allow from pods with app=c of its namespace; tcp 7\n", "  ClusterNetworkPolicy no-d in tier Admin with priority 7\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nwant in it %q", out, want)
		}
	}
	listed := map[string]bool{}
	for line := range strings.Lines(run(ctx, t, &n1.Host, "", "nft", "-s", "list", "table", "inet", "warren-policy")) {
		listed[strings.TrimSpace(line)] = true
	}
	_, kernel, _ := strings.Cut(out, "in the kernel of n1:\n")
	rules := 0
	for line := range strings.Lines(kernel) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "chain ") || strings.HasSuffix(line, " drop") || strings.HasSuffix(line, " return") {
			if rules++; !listed[line] {
				t.Errorf("%q is shown, and nft does not list it", line)
			}
		}
	}
	if rules < 6 {
		t.Errorf("%d chains and rules are shown of x/a:\n%s", rules, out)
	}
	if out := run(ctx, t, &n1.Host, "", "warren", "policy", "show", "z/e"); !strings.Contains(out, "NetworkPolicy z/out") || !strings.Contains(out, "it has no rules on n1") {
		t.Errorf("of a pod elsewhere:\n%s", out)
	}
}

// following is a warren policy drops --follow.
type following struct {
	mu   sync.Mutex
	seen []socket.Drop
}

// follow begins to follow a node's drops.
func follow(ctx context.Context, t *testing.T, n *lab.Node) *following {
	t.Helper()
	f := &following{}
	cmd := n.Command(ctx, "warren", "policy", "drops", "--follow", "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for from := json.NewDecoder(out); ; {
			var d socket.Drop
			if err := from.Decode(&d); err != nil {
				if !errors.Is(err, io.EOF) && ctx.Err() == nil {
					t.Errorf("following the drops of %s: %v", n.Name, err)
				}
				return
			}
			f.mu.Lock()
			f.seen = append(f.seen, d)
			f.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait() // It was killed, and says so.
	})
	return f
}

// has says whether one like that was seen since.
func (f *following) has(since time.Time, like func(socket.Drop) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.seen, func(d socket.Drop) bool { return d.Time.After(since) && like(d) }) {
		return nil
	}
	return fmt.Errorf("not among %+v", f.seen)
}

// tellsDrops follows each node while packets are denied at it.
func (s *scene) tellsDrops(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	followed := map[string]*following{}
	for _, n := range s.Nodes() {
		followed[n.Name] = follow(ctx, t, n)
	}
	pods := map[string]*lab.Pod{}
	for _, p := range s.Pods() {
		pods[p.Name] = p
	}
	for _, c := range []struct {
		from, to, proto, node, direction, policy, name string
	}{
		{"d", "a", "tcp", "n1", "ingress", "x/web", ""},
		{"e", "c", "udp", "n3", "egress", "z/out", ""},
		{"b", "d", "tcp", "n1", "egress", "/no-d", "none"},
	} {
		from, to, since := pods[c.from], pods[c.to], time.Now()
		for _, address := range to.Addresses {
			probe, cancel := context.WithTimeout(ctx, probeTimeout)
			if err := from.Reach(probe, address, c.proto, 100); err == nil {
				t.Errorf("%s reaches %s: this test proves nothing", c.from, c.to)
			}
			cancel()
			eventually(ctx, t, 10*time.Second, func() error {
				return followed[c.node].has(since, func(d socket.Drop) bool {
					return d.From.Pod == podOf(from) && d.To.Pod == podOf(to) && d.To.Address == address && d.To.Port == 7 && d.From.Port != 0 &&
						d.Protocol == c.proto && d.Direction == c.direction && d.Rule != nil && d.Rule.Namespace+"/"+d.Rule.Policy == c.policy && d.Rule.Name == c.name
				})
			})
		}
	}
	n1 := s.Node("n1")
	out := run(ctx, t, &n1.Host, "", "warren", "policy", "drops")
	t.Logf("warren policy drops\n%s", out)
	if !strings.Contains(out, "ingress of x/a: NetworkPolicy x/web isolates it, and no rule of it matches\n") {
		t.Errorf("the last drops are:\n%s", out)
	}
	metrics := scrape(ctx, t, n1)
	for _, counted := range []string{`warren_policy_denied_packets_total{direction="ingress",reason="rule"} `, `warren_policy_denied_packets_total{direction="egress",reason="rule"} `} {
		if _, n, found := strings.Cut(metrics, counted); !found || strings.HasPrefix(n, "0\n") {
			t.Errorf("%s%.4q", counted, n)
		}
	}
}

// previews wants a flow to be listed that a previewed policy would cut, and to go on; enforced, the policy denies the like of it.
func (s *scene) previews(ctx context.Context, t *testing.T) {
	t.Helper()
	n1, a, c := s.Node("n1"), s.Node("n1").Pod("a"), s.Node("n2").Pod("c")
	flow, err := c.Flow(ctx, a.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(flow.Stop)
	defer stop()
	enforced := np("x", "later", "podSelector: {matchLabels: {app: a}}\npolicyTypes: [Ingress]")
	previewed := strings.Replace(enforced, "{name: later,", "{annotations: {warren.dev/stage: preview}, name: later,", 1)
	if err := s.Cluster().Apply(ctx, []byte(previewed)); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error {
		var p socket.Previews
		out, err := n1.Run(ctx, "warren", "policy", "preview", "-o", "json")
		if err := errors.Join(err, json.Unmarshal([]byte(out), &p)); err != nil {
			return err
		}
		if len(p.Policies) == 1 && slices.ContainsFunc(p.Policies[0].Cuts, func(cut socket.Cut) bool {
			return cut.From.Pod == "x/c" && cut.To.Pod == "x/a" && cut.To.Port == 7 && cut.From.Port != 0 && cut.Protocol == "tcp" &&
				cut.Pod == "x/a" && cut.Direction == "ingress" && cut.Rule.Policy == "later"
		}) {
			return nil
		}
		return fmt.Errorf("the flow is not listed: %s", out)
	})
	t.Logf("warren policy preview\n%s", run(ctx, t, &n1.Host, "", "warren", "policy", "preview"))
	eventually(ctx, t, 10*time.Second, func() error {
		if !strings.Contains(scrape(ctx, t, n1), `warren_policy_preview_would_deny_total{kind="NetworkPolicy",namespace="x",policy="later"}`) {
			return errors.New("the flow is not counted")
		}
		return nil
	})
	s.reach(ctx, t) // It is not enforced.
	if result := stop(); result.Err != nil || result.Returned == 0 {
		t.Errorf("the flow that would be cut: %s", result)
	}
	if err := s.Cluster().Apply(ctx, []byte(enforced)); err != nil {
		t.Fatal(err)
	}
	s.reach(ctx, t, "*>a")
	if out := run(ctx, t, &n1.Host, "", "warren", "policy", "preview"); !strings.HasPrefix(out, "no policy is previewed") {
		t.Errorf("after it is enforced: %s", out)
	}
}
