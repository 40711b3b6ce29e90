package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// policyPaths: what tells of a narrow path, and neighbour discovery, reach a pod that is isolated both ways but for what it may send.
func (s *scene) policyPaths(ctx context.Context, t *testing.T) {
	s.apply(ctx, t, onA("policyTypes: [Ingress, Egress]\negress: [{to: [{podSelector: {matchLabels: {app: c}}}]}]"))
	among := []string{"a>b,c", "c>a"}
	s.reachAmong(ctx, t, among, []string{"a>b", "c>a"})
	a, c, n2 := s.podOf("a"), s.podOf("c"), s.Node("n2")

	// The far node has a narrow link to the pod, which the near node cannot know.
	link := linkOf(ctx, t, n2, c)
	const narrow = 1300
	run(ctx, t, &n2.Host, "", "ip", "link", "set", link, "mtu", fmt.Sprint(narrow))
	for _, to := range c.Addresses {
		eventually(ctx, t, 5*time.Second, func() error { return fits(ctx, a, to, lanes, narrow) })
	}
	run(ctx, t, &n2.Host, "", "ip", "link", "set", link, "mtu", fmt.Sprint(lanes))
	run(ctx, t, &a.Host, "", "sh", "-c", "ip route flush cache; ip -6 route flush cache")

	// What both ends know of each other for ever is forgotten, so that they have to ask.
	wire := linkOf(ctx, t, a.Node, a)
	run(ctx, t, &a.Host, "", "ip", "-6", "neigh", "del", "fe80::1", "dev", "eth0")
	run(ctx, t, &a.Node.Host, "", "ip", "-6", "neigh", "del", a.Address(false).String(), "dev", wire)
	s.reachAmong(ctx, t, among, []string{"a>b", "c>a"})
	s.reachAmong(ctx, t, []string{"n1>a"}, nil)
	discovered(ctx, t, &a.Host, "eth0", "fe80::1")
	discovered(ctx, t, &a.Node.Host, wire, a.Address(false).String())
	s.deletePolicies(ctx, t)
}

// lanes is what fits into the lanes: IPv6 is what the underlay may use.
const lanes = 1420

// discovered wants a neighbour to be known by having been asked.
func discovered(ctx context.Context, t *testing.T, h *lab.Host, link, neighbour string) {
	t.Helper()
	known := run(ctx, t, h, "", "ip", "-6", "neigh", "show", neighbour, "dev", link)
	if !strings.Contains(known, "lladdr") || strings.Contains(known, "PERMANENT") {
		t.Errorf("%s knows of %s: %q", h.Name, neighbour, known)
	}
}

// linkOf is the node's end of a pod's wire.
func linkOf(ctx context.Context, t *testing.T, n *lab.Node, p *lab.Pod) string {
	t.Helper()
	words := strings.Fields(run(ctx, t, &n.Host, "", "ip", "route", "get", p.Address(true).String()))
	at := slices.Index(words, "dev")
	if at < 0 {
		t.Fatalf("%s has no link to %s: %q", n.Name, p.Name, words)
	}
	return words[at+1]
}
