package policy_test

import (
	"fmt"
	"net/netip"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/warren-mesh/warren/policy"
)

const judged = `
namespace a team=blue
namespace b team=red
node n1 192.0.2.1
node n2 192.0.2.2
pod a/web 10.0.0.1 app=web http:8080/tcp
pod b/cli 10.0.1.1 app=cli http:80/tcp
local wrp1 a/web 10.0.0.1
---
kind: ClusterNetworkPolicy
metadata: {name: admin}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {matchLabels: {team: blue}}}
  ingress:
  - {name: metrics, action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 9}}}]}
  - {action: Pass, from: [{namespaces: {matchLabels: {team: red}}}]}
  egress:
  - {action: Deny, to: [{nodes: {}}], protocols: [{tcp: {destinationPort: {number: 10250}}}]}
---
kind: ClusterNetworkPolicy
metadata: {name: base}
spec:
  tier: Baseline
  priority: 1
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{namespaces: {}}]}]
  egress: [{action: Deny, to: [{networks: [192.0.2.0/24]}], protocols: [{tcp: {destinationPort: {number: 22}}}]}]
---
kind: NetworkPolicy
metadata: {name: np}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: red}}}]
    ports: [{port: http}, {protocol: UDP}]
  - from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.7/32]}}]
`

func TestJudgeWalksTheChains(t *testing.T) {
	x, err := parseScene(judged)
	if err != nil {
		t.Fatal(err)
	}
	r := x.Ruleset()
	for _, c := range []struct {
		direction policy.Direction
		from, to  string
		protocol  policy.Protocol
		port      uint16
		host      bool
		want      string
	}{
		{policy.Ingress, "10.0.1.1", "10.0.0.1", policy.TCP, 9, false, "accept by Admin admin rule 0 (metrics)"},
		{policy.Ingress, "10.0.1.1", "10.0.0.1", policy.TCP, 8080, false, "accept by NetworkPolicy a/np rule 0"},
		{policy.Ingress, "10.0.1.1", "10.0.0.1", policy.SCTP, 8080, false, "deny by NetworkPolicy a/np (isolated)"},
		{policy.Ingress, "10.0.1.1", "10.0.0.1", policy.UDP, 1, false, "accept by NetworkPolicy a/np rule 0"},
		{policy.Ingress, "10.0.1.1", "10.0.0.1", policy.ICMP, 0, false, "deny by NetworkPolicy a/np (isolated)"},
		{policy.Ingress, "198.51.100.6", "10.0.0.1", policy.ICMP, 0, false, "accept by NetworkPolicy a/np rule 1"},
		{policy.Ingress, "198.51.100.7", "10.0.0.1", policy.TCP, 8080, false, "deny by NetworkPolicy a/np (isolated)"},
		{policy.Ingress, "192.0.2.1", "10.0.0.1", policy.TCP, 8080, true, "accept by default"},
		{policy.Ingress, "10.0.0.1", "10.0.0.1", policy.TCP, 1, false, "accept by default"},
		{policy.Egress, "10.0.0.1", "192.0.2.2", policy.TCP, 10250, false, "deny by Admin admin rule 0"},
		{policy.Egress, "10.0.0.1", "192.0.2.1", policy.TCP, 10250, true, "deny by Admin admin rule 0"},
		{policy.Egress, "10.0.0.1", "192.0.2.1", policy.TCP, 22, true, "deny by Baseline base rule 0"},
		{policy.Egress, "10.0.0.1", "192.0.2.1", policy.TCP, 23, true, "accept by default"},
	} {
		p := policy.Packet{From: netip.MustParseAddr(c.from), To: netip.MustParseAddr(c.to), Protocol: c.protocol, Port: c.port}
		verdict, by := r.Judge(r.Pods["wrp1"], c.direction, p, c.host)
		if got := fmt.Sprintf("%s by %s", verdict, by); got != c.want {
			t.Errorf("%s of %s to %s, %s %d, host %t: %s, want %s", c.direction, c.from, c.to, c.protocol, c.port, c.host, got, c.want)
		}
	}
}

// TestTenThousandRules: the last one of them counts as the first does, and other policies are there too.
func TestTenThousandRules(t *testing.T) {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "large"}}
	for i := range 10000 {
		port := intstr.FromInt32(int32(i + 1))
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			Ports: []networkingv1.NetworkPolicyPort{{Port: &port}},
			From:  []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: fmt.Sprintf("172.16.%d.%d/32", i/256, i%256)}}},
		})
	}
	x, err := parseScene(judged)
	if err != nil {
		t.Fatal(err)
	}
	x.SetPolicy(p)
	r := x.Ruleset()
	for _, c := range []struct {
		from string
		port uint16
		want policy.Verdict
	}{{"172.16.0.0", 1, policy.Accept}, {"172.16.39.15", 10000, policy.Accept}, {"172.16.39.15", 9999, policy.Deny}, {"198.51.100.6", 1, policy.Accept}} {
		packet := policy.Packet{From: netip.MustParseAddr(c.from), To: netip.MustParseAddr("10.0.0.1"), Protocol: policy.TCP, Port: c.port}
		if got, by := r.Judge(r.Pods["wrp1"], policy.Ingress, packet, false); got != c.want {
			t.Errorf("from %s to port %d: %s by %s, want %s", c.from, c.port, got, by, c.want)
		}
	}
	if problems := x.Problems(); len(problems) != 0 {
		t.Errorf("10,000 rules are no problem, and %v", problems)
	}
}
