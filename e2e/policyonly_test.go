package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/internal/checkpoint"
)

// policyOnlyScene is three nodes on which Warren polices the pods of ptp and host-local, and nothing else. What routes between the nodes is
// plain, as Flannel's host-gw has it.
func policyOnlyScene(ctx context.Context, t *testing.T) *scene {
	t.Helper()
	dir := references(ctx, t, "bridge", "ptp", "host-local")
	options := policyLab(t)
	options.AgentArgs, options.Audit = []string{"--mode=policy"}, true
	options.Manifests = append(options.Manifests, "../manifests/overlays/policy-only/rbac.yaml")
	s := &scene{Lab: lab.New(t, options)}
	s.network = func(ctx context.Context, t *testing.T, n *lab.Node) { hostGateway(ctx, t, s, n) }
	for _, n := range s.Nodes() {
		installPlugins(t, dir, n, "bridge", "ptp", "host-local")
		configureOthers(t, n, othersPlugins["ptp"], prefixTexts(n.PodCIDRs)...)
		s.network(ctx, t, n)
		n.UseAgent(confined(t, n, "warrend", []string{"NET_ADMIN"})) // all that the overlay gives it
		routePods(ctx, t, s.Switch(), n)                             // who is outside answers pods by their own addresses
	}
	return s
}

// hostGateway routes a node's way to all others' pods by their nodes.
func hostGateway(ctx context.Context, t *testing.T, s *scene, n *lab.Node) {
	t.Helper()
	for _, other := range s.Nodes() {
		if other != n {
			routePods(ctx, t, &n.Host, other)
		}
	}
}

// routePods routes a host's way to a node's pods by the node.
func routePods(ctx context.Context, t *testing.T, h *lab.Host, to *lab.Node) {
	t.Helper()
	for _, pods := range to.PodCIDRs {
		for _, via := range to.Addresses {
			if via.Is4() == pods.Addr().Is4() {
				run(ctx, t, h, "", "ip", "route", "replace", pods.String(), "via", via.String())
			}
		}
	}
}

// allowedAll wants the API server to have refused no agent anything.
func (s *scene) allowedAll(t *testing.T) {
	t.Helper()
	answered, denied, err := s.Cluster().Audit()
	if err != nil || answered == 0 || len(denied) > 0 {
		t.Errorf("of %d requests these were refused, %v:\n%s", answered, err, strings.Join(denied, "\n"))
	}
}

// TestPolicyOnly: on another's network it is policies that say who reaches whom, as on Warren's own.
func TestPolicyOnly(t *testing.T) { //nolint:tparallel // its parts come one after the other
	t.Parallel()
	ctx := t.Context()
	s := policyOnlyScene(ctx, t)
	s.startPolicies(ctx, t)
	for _, group := range []struct {
		name string
		run  func(context.Context, *testing.T)
	}{
		{"NetworkPolicy", func(ctx context.Context, t *testing.T) { s.runAll(ctx, t, networkPolicies) }},
		{"ClusterNetworkPolicy", func(ctx context.Context, t *testing.T) { s.runAll(ctx, t, clusterPolicies) }},
		{"services", s.policyServices},
		{"changes", s.policyChanges},
		{"lives", s.policyLives},
		{"bad input", s.policyBadInput},
		{"permissions", func(_ context.Context, t *testing.T) { s.allowedAll(t) }}, // An API server that starts refuses all before it has read its own.
		{"reboot", s.policyReboot},
	} {
		t.Run(group.name, func(t *testing.T) {
			start := time.Now()
			defer s.deletePolicies(t.Context(), t)
			group.run(testContext(t), t)
			t.Logf("%s: %s", group.name, time.Since(start).Round(time.Second))
		})
	}
	for _, n := range s.Nodes() {
		if got := run(ctx, t, &n.Host, "", "sh", "-ec", "nft list tables; ip -o link; ls /var/lib/warren"); strings.Contains(got, "warren-mesh") ||
			strings.Contains(got, "warren0") || strings.Contains(got, "wrp") || strings.Contains(got, "key") {
			t.Errorf("%s has something of a mesh:\n%s", n.Name, got)
		}
	}
	nodes, err := s.Cluster().Admin().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		for name := range n.Annotations {
			if strings.HasPrefix(name, "warren.dev/") {
				t.Errorf("Node %s has the annotation %s", n.Name, name)
			}
		}
	}
}

// TestPolicyOnlyRevokes: a change of policy ends the established flows that it forbids, and no others.
func TestPolicyOnlyRevokes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(4*time.Minute))
	defer cancel()
	s := policyOnlyScene(ctx, t)
	s.startPolicies(ctx, t)
	for _, c := range revokeCases {
		switch c.name {
		case "a policy is added", "a peer's label is changed", "Admin denies on egress, where the other way stays open":
			t.Run(c.name, func(t *testing.T) { s.revokes(ctx, t, c) })
		}
	}
}

// TestPolicyOnlyGate: policy is enforced on a pod before it starts, whatever becomes of the agent, or the runtime is told why it is not.
func TestPolicyOnlyGate(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(6*time.Minute))
	defer cancel()
	s := policyOnlyScene(ctx, t)
	n1, n2 := s.Node("n1"), s.Node("n2")
	before := snapshot(ctx, t, s, n1)
	s.startPolicies(ctx, t)
	s.apply(ctx, t, onA("ingress: [{from: [{podSelector: {matchLabels: {app: c}}}]}]"))
	s.reach(ctx, t, "b,d,e>a")
	t.Run("spoofing", func(t *testing.T) { policySpoofs(ctx, t, s) })
	t.Run("drops", func(t *testing.T) {
		eventually(ctx, t, 10*time.Second, func() error {
			out, err := n1.Run(ctx, "warren", "policy", "drops")
			for _, want := range []string{"ingress of x/a: NetworkPolicy x/p isolates it", "egress of x/b: it sent under an address that is not its own"} {
				if !strings.Contains(out, want) {
					err = errors.Join(err, fmt.Errorf("want %q in:\n%s", want, out))
				}
			}
			return err
		})
	})
	t.Run("restarts", func(t *testing.T) { policyRestarts(ctx, t, s) })
	t.Run("bridged", func(t *testing.T) { bridgedIsRefused(ctx, t, s, n2) })
	t.Run("no gate", func(t *testing.T) { ungatedIsFound(ctx, t, s, n1) })
	t.Run("agent away", func(t *testing.T) {
		if err := n1.KillAgent(); err != nil {
			t.Fatal(err)
		}
		gated(ctx, t, n1, "gated", "the agent gives no answer")
		if err := s.podOf("b").Remove(); err != nil {
			t.Errorf("DEL without the agent: %v", err)
		}
		if err := n1.StartAgent(ctx); err != nil {
			t.Fatal(err)
		}
		if err := n1.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		s.addPolicyPod(ctx, t, "n1", "x", "b")
		s.reach(ctx, t, "b,d,e>a")
	})
	s.allowedAll(t)
	t.Run("uninstall", func(t *testing.T) {
		for _, p := range n1.Pods() {
			if err := p.Remove(); err != nil {
				t.Error(err)
			}
		}
		if err := n1.StopAgent(ctx); err != nil {
			t.Fatal(err)
		}
		withoutGate(t, n1)
		t.Logf("warren uninstall:\n%s", run(ctx, t, &n1.Host, "", "warren", uninstall(n1)...))
		if diff := cmp.Diff(before, snapshot(ctx, t, s, n1)); diff != "" {
			t.Errorf("n1 is not as it was (-before +after):\n%s", diff)
		}
	})
}

// policySpoofs has b send to a, which only c may, under c's address, and to d, which everybody may: nothing of it comes further than its own node.
func policySpoofs(ctx context.Context, t *testing.T, s *scene) {
	t.Helper()
	b, number := s.podOf("b"), uint32(1)
	for _, to := range []string{"a", "d"} {
		seen := tap(t, s.podOf(to).Do, "eth0", false)
		for i, v4 := range []bool{true, false} {
			dropped := droppedBy(ctx, t, b.Node, "warren-policy", "spoofed")
			gateway := b.Node.MeshAddresses[i]
			if err := b.Ping(ctx, gateway, lab.PingOptions{Timeout: 5 * time.Second}); err != nil {
				t.Fatal(err)
			}
			mac := run(ctx, t, &b.Host, "", "sh", "-c", "ip -o neighbour show to "+gateway.String()+" dev eth0 | grep -o 'lladdr [0-9a-f:]*'")
			mac = strings.TrimSpace(strings.TrimPrefix(mac, "lladdr "))
			forged, own := number, number+1
			number += 2
			injectTo(t, &b.Host, mac, probe(t, s.podOf("c").Address(v4), s.podOf(to).Address(v4), forged))
			injectTo(t, &b.Host, mac, probe(t, b.Address(v4), s.podOf("d").Address(v4), own))
			eventually(ctx, t, 5*time.Second, func() error {
				if to == "d" && seen.count(own) == 0 {
					return errors.New("what b sends under its own address does not arrive, so that the other's absence would prove nothing")
				}
				if droppedBy(ctx, t, b.Node, "warren-policy", "spoofed") == dropped {
					return errors.New("what b sends under c's address is not counted as dropped")
				}
				return nil
			})
			if seen.count(forged) > 0 {
				t.Errorf("what b sends under c's address arrives at %s", to)
			}
		}
	}
}

// policyRestarts kills n1's agent and starts it anew: what is allowed loses no packet, and what is forbidden never passes, even where the agent has
// lost what it knew of links.
func policyRestarts(ctx context.Context, t *testing.T, s *scene) {
	t.Helper()
	n1, a, c := s.Node("n1"), s.podOf("a"), s.podOf("c")
	for _, lost := range []bool{false, true} {
		stream, err := c.Stream(ctx, a.Address(true), time.Millisecond, 64)
		if err != nil {
			t.Fatal(err)
		}
		passed, stop := persists(ctx, &s.podOf("b").Host, a.Addresses)
		if err := n1.KillAgent(); err != nil {
			t.Fatal(err)
		}
		if lost {
			if err := os.Remove(filepath.Join(n1.StateDir(), checkpoint.LinksName)); err != nil {
				t.Fatal(err)
			}
		}
		s.startAgent(ctx, t, n1)
		s.reach(ctx, t, "b,d,e>a")
		tried := stop()
		result := stream.Stop()
		if n := passed.Load(); n > 0 || tried == 0 {
			t.Errorf("%d of %d attempts of b to reach a passed, with the links lost: %v", n, tried, lost)
		}
		if result.Lost != 0 || result.Sent == 0 {
			t.Errorf("c to a: %s, want none lost; links lost: %v", result, lost)
		}
		t.Logf("links lost: %v; c to a: %s; b to a: %d attempts, none passed", lost, result, tried)
	}
}

// persists has a host try to reach somebody all the time until it is stopped, which says how often it has tried.
func persists(ctx context.Context, from *lab.Host, to []netip.Addr) (passed *atomic.Int64, stop func() (tried int)) {
	passed = &atomic.Int64{}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan int)
	go func() {
		tried := 0
		for ctx.Err() == nil {
			for _, a := range to {
				if tried++; from.Ping(ctx, a, lab.PingOptions{Timeout: 20 * time.Millisecond}) == nil {
					passed.Add(1)
				}
			}
		}
		done <- tried
	}()
	return passed, func() int {
		cancel()
		return <-done
	}
}

// bridgedIsRefused: a pod on a bridge does not start; one that runs already is told of.
func bridgedIsRefused(ctx context.Context, t *testing.T, s *scene, n *lab.Node) {
	t.Helper()
	configureOthers(t, n, othersPlugins["bridge"], prefixTexts(n.PodCIDRs)...)
	var refused *types.Error
	_, err := n.AddPodLike(ctx, lab.PodOptions{Namespace: "x", Name: "bridged", Once: true})
	if !errors.As(err, &refused) || refused.Code != types.ErrInvalidNetworkConfig {
		t.Fatalf("a pod on a bridge: %v", err)
	}
	for _, want := range []string{"policy cannot be enforced on pod x/bridged", "is a port of bridge cni0", "link veth", "want a plugin that routes to each pod by a veth of its own, as ptp does"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
	withoutGate(t, n)
	bridged, err := n.AddPodLike(ctx, lab.PodOptions{Namespace: "x", Name: "bridged"})
	if err != nil {
		t.Fatal(err)
	}
	const why = "bridge cni0 leads to "
	eventually(ctx, t, 40*time.Second, func() error {
		events, err := s.Cluster().Admin().EventsV1().Events("x").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Regarding.Kind == "Pod" && e.Regarding.Name == "bridged" && e.Regarding.UID != "" && e.Reason == "PolicyNotEnforced" &&
				strings.Contains(e.Note, why) && strings.Contains(e.Note, "start the pod anew") {
				return nil
			}
		}
		return errors.New("no Event says that policy is not enforced on x/bridged")
	})
	wantLogged(t, n, "policy is not enforced on this pod: ")
	if metrics := scrape(ctx, t, n); !strings.Contains(metrics, "\nwarren_policy_unenforced_pods 1\n") {
		t.Error("the metric does not count it")
	}
	status := run(ctx, t, &n.Host, "", "warren", "status")
	if !strings.Contains(status, "POLICY IS NOT ENFORCED on: 1 pods\n  x/bridged: ") || !strings.Contains(status, why) {
		t.Errorf("warren status:\n%s", status)
	}
	if err := bridged.Remove(); err != nil {
		t.Error(err)
	}
	run(ctx, t, &n.Host, "", "ip", "link", "delete", "cni0")
	configureOthers(t, n, othersPlugins["ptp"], prefixTexts(n.PodCIDRs)...)
	eventually(ctx, t, 20*time.Second, func() error {
		if metrics := scrape(ctx, t, n); !strings.Contains(metrics, "\nwarren_policy_unenforced_pods 0\n") {
			return errors.New("it is gone, and counted")
		}
		return nil
	})
}

// withoutGate takes the gate out of a node's configuration.
func withoutGate(t *testing.T, n *lab.Node) {
	t.Helper()
	file := filepath.Join(n.CNIConfDir(), "20-theirs.conflist")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(text), ",\n    {\"type\": \"warren-cni\", \"gate\": true}", "", 1)), 0o600)
	}
	if err != nil || !strings.Contains(string(text), "gate") {
		t.Fatal("there is no gate", err)
	}
}

// ungatedIsFound: a pod that started without the gate is policed once the API server says where it is.
func ungatedIsFound(ctx context.Context, t *testing.T, s *scene, n *lab.Node) {
	t.Helper()
	withoutGate(t, n)
	s.apply(ctx, t, np("x", "late", "podSelector: {matchLabels: {app: late}}\npolicyTypes: [Ingress, Egress]"))
	late := s.addPolicyPod(ctx, t, n.Name, "x", "late")
	s.reach(ctx, t, "b,d,e>a", "*>late", "late>*")
	wantLogged(t, n, "found by the routes which link leads to a pod")
	if err := late.Remove(); err != nil {
		t.Error(err)
	}
	configureOthers(t, n, othersPlugins["ptp"], prefixTexts(n.PodCIDRs)...)
}
