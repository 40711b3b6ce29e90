package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExplain(t *testing.T) {
	pod := func(namespace, name string) Endpoint { return Endpoint{Pod: PodKey{namespace, name}} }
	address := func(a string) Endpoint { return Endpoint{Address: netip.MustParseAddr(a)} }
	w := town().with(t, both(
		np("x/web", "podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 443}]}, {from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: http}]}]"),
		np("x/none", "podSelector: {}"),
		np("x/out", "podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]"),
		np("y/none", "podSelector: {matchLabels: {app: other}}"),
		cnp("guests", AdminTier, 7, "subject: {namespaces: {matchLabels: {team: b}}}, egress: [{name: no control plane, action: Deny, to: [{nodes: {}}]}]"),
		cnp("base", BaselineTier, 1, "subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: z}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]")))
	own := address("192.0.2.1")
	own.OwnNode = true
	for _, c := range []struct {
		name     string
		from, to Endpoint
		protocol Protocol
		port     uint16
		want     string
	}{
		{"each family on its own", pod("x", "client"), pod("x", "web"), TCP, 80, `
x/client (10.0.0.1) to x/web (10.0.0.2), tcp 80: allowed
  egress from x/client: allowed: no policy selects it
  ingress to x/web: allowed: NetworkPolicy x/web, ingress[1]
x/client (fd00::1) to x/web (fd00::2), tcp 80: denied
  egress from x/client: allowed: no policy selects it
  ingress to x/web: denied: NetworkPolicies x/none, x/web isolate it, and no rule of theirs matches
`},
		{"both families at once", pod("x", "client"), pod("x", "web"), TCP, 443, `
x/client (10.0.0.1, fd00::1) to x/web (10.0.0.2, fd00::2), tcp 443: allowed
  egress from x/client: allowed: no policy selects it
  ingress to x/web: allowed: NetworkPolicy x/web, ingress[0]
`},
		{"one policy isolates", pod("x", "client"), pod("y", "other"), UDP, 53, `
x/client (10.0.0.1) to y/other (10.0.1.3), udp 53: denied
  egress from x/client: allowed: no policy selects it
  ingress to y/other: denied: NetworkPolicy y/none isolates it, and no rule of it matches
`},
		{"a tier, a priority and a rule's name", pod("y", "shop"), address("192.0.2.2"), ICMP, 0, `
y/shop (10.0.1.2) to 192.0.2.2, icmp: denied
  egress from y/shop: denied: ClusterNetworkPolicy guests in tier Admin with priority 7, egress[0] "no control plane": Deny
  ingress to 192.0.2.2: allowed: 192.0.2.2 is no pod
`},
		{"an address that is a pod's", address("10.0.1.2"), address("10.0.2.1"), SCTP, 7, `
10.0.1.2 to 10.0.2.1, sctp 7: denied
  egress from y/shop: allowed: no rule of a policy that selects it decides
  ingress to z/stray: denied: ClusterNetworkPolicy base in tier Baseline with priority 1, ingress[0]: Deny
`},
		{"the node's network", pod("x", "host"), pod("z", "stray"), TCP, 80, `
x/host (192.0.2.1) to z/stray (10.0.2.1), tcp 80: allowed
  egress from x/host: allowed: it uses its node's network, where no policy applies
  ingress to z/stray: allowed: no rule of a policy that selects it decides
`},
		{"ICMP is each family's", pod("x", "client"), pod("y", "shop"), ICMP, 0, `
x/client (10.0.0.1) to y/shop (10.0.1.2), icmp: allowed
  egress from x/client: allowed: no policy selects it
  ingress to y/shop: allowed: no policy selects it
x/client (fd00::1) to y/shop (fd00:0:0:1::2), icmpv6: allowed
  egress from x/client: allowed: no policy selects it
  ingress to y/shop: allowed: no policy selects it
`},
		{"to the own node", pod("x", "web"), own, TCP, 10250, `
x/web (10.0.0.2) to 192.0.2.1, tcp 10250: allowed
  egress from x/web: allowed: NetworkPolicy always lets it reach its own node
  ingress to 192.0.2.1: allowed: 192.0.2.1 is no pod
`},
		{"from the own node", own, pod("x", "web"), TCP, 80, `
192.0.2.1 to x/web (10.0.0.2), tcp 80: allowed
  egress from 192.0.2.1: allowed: 192.0.2.1 is no pod
  ingress to x/web: allowed: its own node always reaches it
`},
		{"this node, whatever its address", pod("x", "web"), Endpoint{Node: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.9")}, OwnNode: true}, TCP, 53, `
x/web (10.0.0.2) to this node (192.0.2.1, 198.51.100.9), tcp 53: allowed
  egress from x/web: allowed: NetworkPolicy always lets it reach its own node
  ingress to this node: allowed: this node is no pod
`},
		{"itself", pod("y", "other"), pod("y", "other"), TCP, 80, `
y/other (10.0.1.3) to y/other (10.0.1.3), tcp 80: allowed
  egress from y/other: allowed: a pod always reaches itself
  ingress to y/other: allowed: a pod always reaches itself
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := w.Explain(c.from, c.to, c.protocol, c.port)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestExplainRefuses(t *testing.T) {
	web := Endpoint{Pod: PodKey{"x", "web"}}
	for _, c := range []struct {
		name     string
		from, to Endpoint
		want     string
	}{
		{"a pod that is not there", Endpoint{Pod: PodKey{"x", "nobody"}}, web, "x/nobody: want a pod that is there, or an address"},
		{"a pod without an address", web, Endpoint{Pod: PodKey{"x", "new"}}, "x/new: want a pod that has an address"},
		{"nothing", web, Endpoint{}, "invalid IP: want the name of a pod, or an address"},
		{"two families", Endpoint{Pod: PodKey{"y", "other"}}, Endpoint{Address: netip.MustParseAddr("2001:db8::1")},
			"y/other has [10.0.1.3], 2001:db8::1 has [2001:db8::1]: want addresses of one family"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := town().Explain(c.from, c.to, TCP, 80); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// BenchmarkExplain is one question where there are 100,000 pods, 1,000 namespaces and a policy of 1,000 peers.
func BenchmarkExplain(b *testing.B) {
	var w World
	for i := range 100_000 {
		w.Pods = append(w.Pods, Pod{PodKey: PodKey{fmt.Sprint("n", i%1000), fmt.Sprint("p", i)}, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}})
	}
	for i := range 1000 {
		w.Namespaces = append(w.Namespaces, Namespace{Name: fmt.Sprint("n", i)})
	}
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n1", Name: "p"}}
	for i := range 1000 {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": fmt.Sprint(i)}},
		}}})
	}
	w.Policies = []*networkingv1.NetworkPolicy{p}
	for b.Loop() {
		e, err := w.Explain(Endpoint{Pod: PodKey{"n2", "p2"}}, Endpoint{Pod: PodKey{"n1", "p1"}}, TCP, 80)
		if err != nil || e.Paths[0].Allowed() {
			b.Fatal(e, err)
		}
	}
}
