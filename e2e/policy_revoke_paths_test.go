package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestPolicyRevokesByService cuts what goes by a service's address, on whichever node that is translated, and leaves alone what a pod sends to itself by a
// service, and what its own node sends to it.
func TestPolicyRevokesByService(t *testing.T) {
	ctx := testContext(t)
	s := policyScene(ctx, t)
	a := s.Node("n1").Pod("a")
	services := map[netip.Addr]netip.Addr{a.Address(true): netip.MustParseAddr("10.96.0.9"), a.Address(false): netip.MustParseAddr("fd00:10:96::9")}
	for _, n := range s.Nodes() {
		run(ctx, t, &n.Host, serviceOf(services), "nft", "-f", "-")
		run(ctx, t, &n.Host, "", "ip", "route", "replace", "10.96.0.0/16", "dev", "eth0") // A host needs some route before it can be translated.
		run(ctx, t, &n.Host, "", "ip", "-6", "route", "replace", "fd00:10:96::/112", "dev", "eth0")
	}
	all := talks{}
	for pair, from := range map[string]*lab.Host{
		"b>a": &s.podNamed("b").Host, "c>a": &s.podNamed("c").Host, "n2>a": &s.Node("n2").Host, "a>a": &a.Host, "n1>a": &s.Node("n1").Host,
	} {
		for address, service := range services {
			for _, network := range []string{"tcp", "udp"} {
				k, err := openTalk(ctx, talkOptions{
					network: network, from: from, to: &a.Host, address: address, via: service, client: true, server: true, interval: talkInterval,
				})
				if err != nil {
					t.Fatal(err)
				}
				all[pair] = append(all[pair], k)
			}
		}
	}
	if err := applying(np("x", "p", "podSelector: {matchLabels: {app: a}}\npolicyTypes: [Ingress]"))(ctx, s); err != nil {
		t.Fatal(err)
	}
	latest := all.cut(ctx, t, time.Now(), []string{"b>a", "c>a", "n2>a"})
	t.Logf("the last word of a forbidden flow was heard %s after the API had answered", latest.Round(time.Millisecond))
}

// serviceOf are nft's commands for services by their pods' addresses, as kube-proxy's: a pod that reaches itself is masqueraded.
func serviceOf(services map[netip.Addr]netip.Addr) string {
	var to, self strings.Builder
	for pod, service := range services {
		family := "ip"
		if pod.Is6() {
			family = "ip6"
		}
		fmt.Fprintf(&to, "    %s daddr %s dnat %s to %s\n", family, service, family, pod)
		fmt.Fprintf(&self, "    %s saddr %s %s daddr %s masquerade\n", family, pod, family, pod)
	}
	chain := func(hook string, priority int, rules string) string {
		return fmt.Sprintf("  chain %s {\n    type nat hook %s priority %d\n%s  }\n", hook, hook, priority, rules)
	}
	return "table inet services {\n" + chain("output", -100, to.String()) + chain("prerouting", -100, to.String()) +
		chain("postrouting", 100, self.String()) + "}\n"
}

// TestPolicyRevokesWhatWasBefore cuts what began before the node enforced any policy, and what was forbidden while there was no agent.
func TestPolicyRevokesWhatWasBefore(t *testing.T) {
	ctx := testContext(t)
	s := policyScene(ctx, t)
	n1, pairs := s.Node("n1"), []string{"b>a", "c>a", "d>a", "a>d"}
	forbid := applying(np("x", "p", allowsC))
	for _, c := range []struct {
		name   string
		before func() error
		away   func() error
	}{
		{"the first start of one that enforces", func() error {
			return errors.Join(n1.StopAgent(ctx), n1.StartAgent(ctx, "--policy=false"), n1.WaitReady(ctx), forbid(ctx, s))
		}, func() error { return n1.StopAgent(ctx) }},
		{"a policy that came while there was no agent", func() error { return nil }, func() error { return errors.Join(n1.KillAgent(), forbid(ctx, s)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.before(); err != nil {
				t.Fatal(err)
			}
			all := s.openAll(ctx, t, pairs)
			if t.Failed() {
				return
			}
			before := map[*talk][2]heardState{}
			if err := c.away(); err != nil {
				t.Fatal(err)
			}
			all.each(func(_ string, k *talk) { before[k] = k.states() })
			pause(ctx, time.Second)
			all.each(func(_ string, k *talk) {
				if !k.going(before[k]) {
					t.Errorf("%s: it does not go on without an agent", k.name)
				}
			})
			if err := errors.Join(n1.StartAgent(ctx), n1.WaitReady(ctx)); err != nil {
				t.Fatal(err)
			}
			took := eventually(ctx, t, 10*time.Second, func() error {
				var errs []error
				for _, pair := range []string{"b>a", "d>a"} {
					for _, k := range all[pair] {
						if time.Since(k.last()) < 200*time.Millisecond {
							errs = append(errs, fmt.Errorf("%s: it goes on", k.name))
						}
					}
				}
				return errors.Join(errs...)
			})
			t.Logf("all were cut %s after the agent was ready", took.Round(time.Millisecond))
			all.cut(ctx, t, time.Now(), []string{"b>a", "d>a"})
			s.deletePolicies(ctx, t)
			s.reach(ctx, t)
		})
	}
}
