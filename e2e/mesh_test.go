package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestEveryoneReachesEveryone: 2, 3 and 8 nodes, each family of pods, each family of underlay; on the wire nothing but WireGuard.
func TestEveryoneReachesEveryone(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{2, 3, 8} {
		for _, pods := range []lab.Families{lab.IPv4, lab.IPv6, lab.Dual} {
			for _, underlay := range []lab.Families{lab.IPv4, lab.IPv6} {
				t.Run(fmt.Sprintf("%d nodes, %s pods, %s underlay", nodes, pods, underlay), func(t *testing.T) {
					t.Parallel()
					everyoneReachesEveryone(t, lab.Options{Nodes: nodes, PodFamilies: pods, UnderlayFamilies: underlay,
						StrictRPFilter: nodes == 3})
				})
			}
		}
	}
}

func everyoneReachesEveryone(t *testing.T, options lab.Options) {
	ctx := testContext(t)
	s := newScene(ctx, t, options)
	s.meshed(ctx, t)
	pods, nodes := lab.PodHosts(s.Pods()), lab.NodeHosts(s.Nodes())
	var meshAddresses []netip.Addr
	for _, n := range s.Nodes() {
		meshAddresses = append(meshAddresses, n.MeshAddresses...)
	}
	all := []struct {
		what   string
		from   []*lab.Host
		to     []netip.Addr
		checks []lab.Check
	}{
		{"pods to pods", pods, lab.Addresses(pods), []lab.Check{lab.ByPing, lab.ByTCP, lab.ByUDP}},
		{"pods to mesh addresses", pods, meshAddresses, []lab.Check{lab.ByPing, lab.ByTCP, lab.ByUDP}},
		{"pods to nodes' own addresses", pods, lab.Addresses(nodes), []lab.Check{lab.ByPing, lab.ByTCP, lab.ByUDP}},
	}
	for _, a := range all {
		count, err := lab.Matrix(ctx, a.from, a.to, a.checks...)
		t.Logf("%s: %d checks", a.what, count)
		if err != nil {
			t.Errorf("%s: %v", a.what, err)
		}
	}
	hostsReachPods(ctx, t, s)
	servicesReachPods(ctx, t, s)
	s.sealed(ctx, t)
}

// hostsReachPods is not lab.Matrix: a node reaches pods of families that its underlay does not have.
func hostsReachPods(ctx context.Context, t *testing.T, s *scene) {
	t.Helper()
	for _, n := range s.Nodes() {
		for _, p := range s.Pods() {
			for _, to := range p.Addresses {
				for _, check := range []lab.Check{lab.ByPing, lab.ByTCP, lab.ByUDP} {
					if err := check(ctx, &n.Host, to); err != nil {
						t.Errorf("host to pod: %v", err)
					}
				}
			}
		}
	}
}

// servicesReachPods gives every node a service address for every pod, by DNAT as kube-proxy's, and reaches each from each host
// and each pod.
func servicesReachPods(ctx context.Context, t *testing.T, s *scene) {
	t.Helper()
	rules, services := serviceRules(s.Pods())
	for _, n := range s.Nodes() {
		run(ctx, t, &n.Host, rules, "nft", "-f", "-")
		if strings.Contains(rules, "ip6") { // A host needs some route to the service before it can be translated.
			run(ctx, t, &n.Host, "", "ip", "-6", "route", "replace", "fd00:10:96::/112", "dev", "eth0")
		}
		if strings.Contains(rules, "ip daddr") {
			run(ctx, t, &n.Host, "", "ip", "route", "replace", "10.96.0.0/16", "dev", "eth0")
		}
	}
	for _, n := range s.Nodes() {
		from := []*lab.Host{&n.Host}
		for _, p := range n.Pods() {
			from = append(from, &p.Host)
		}
		for _, h := range from {
			for i, service := range services {
				if err := reachService(ctx, s, h, service, i); err != nil {
					t.Errorf("by service address: %v", err)
				}
			}
		}
	}
}

// reachService leaves out a pod's way to itself: that wants masquerading, which is kube-proxy's.
func reachService(ctx context.Context, s *scene, h *lab.Host, service netip.AddrPort, i int) error {
	owner := serviceOwners(s.Pods())[i]
	if h == &owner.Host {
		return nil
	}
	if err := h.ReachPort(ctx, service, "tcp", 4000); err != nil {
		return err
	}
	return h.ReachPort(ctx, service, "udp", 1000)
}

// serviceOwners is the pod behind each service of serviceRules.
func serviceOwners(pods []*lab.Pod) []*lab.Pod {
	var owners []*lab.Pod
	for _, p := range pods {
		for range p.Addresses {
			owners = append(owners, p)
		}
	}
	return owners
}

func serviceRules(pods []*lab.Pod) (rules string, services []netip.AddrPort) {
	var b strings.Builder
	for _, p := range pods {
		for _, addr := range p.Addresses {
			n := len(services) + 1
			family, service := "ip", fmt.Sprintf("10.96.0.%d", n)
			if addr.Is6() {
				family, service = "ip6", fmt.Sprintf("fd00:10:96::%x", n)
			}
			target := netip.AddrPortFrom(addr, lab.EchoPort)
			for _, proto := range []string{"tcp", "udp"} {
				fmt.Fprintf(&b, "    %s daddr %s %s dport 80 dnat %s to %s\n", family, service, proto, family, target)
			}
			services = append(services, netip.AddrPortFrom(netip.MustParseAddr(service), 80))
		}
	}
	chain := func(hook string) string {
		return fmt.Sprintf("  chain %s {\n    type nat hook %s priority -100\n%s  }\n", hook, hook, b.String())
	}
	return "table inet services {\n" + chain("output") + chain("prerouting") + "}\n", services
}

// TestAgentsEndChangesNothing: SIGTERM and SIGKILL leave the kernel as it is, and traffic going.
func TestAgentsEndChangesNothing(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	for _, end := range []struct {
		how string
		end func(*lab.Node) error
	}{
		{"SIGTERM", func(n *lab.Node) error { return n.StopAgent(ctx) }},
		{"SIGKILL", func(n *lab.Node) error { return n.KillAgent() }},
	} {
		n := s.Node("n1")
		stream := s.stream(ctx, t, "n1", "n2")
		before, err := n.Run(ctx, "sh", "-c", "ip -d address; ip route show table all; ip -6 route show table all; nft -s list ruleset; wg show all allowed-ips")
		if err != nil {
			t.Fatal(err)
		}
		if err := end.end(n); err != nil {
			t.Fatal(err)
		}
		after, err := n.Run(ctx, "sh", "-c", "ip -d address; ip route show table all; ip -6 route show table all; nft -s list ruleset; wg show all allowed-ips")
		if err != nil {
			t.Fatal(err)
		}
		if before != after {
			t.Errorf("%s changed the kernel's state:\n%s\nto\n%s", end.how, before, after)
		}
		s.startAgent(ctx, t, n)
		if result := stream.Stop(); result.Lost != 0 || result.Sent == 0 {
			t.Errorf("%s and a start: %s, want none lost", end.how, result)
		}
	}
	s.sealed(ctx, t)
}
