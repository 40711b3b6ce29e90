package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// previewed puts a policy of the short forms at the preview stage.
func previewed(policy string) string {
	return strings.Replace(policy, "metadata: {", "metadata: {annotations: {warren.dev/stage: preview}, ", 1)
}

func TestPreviewedPolicies(t *testing.T) {
	runJudge(t, []judgeCase{{"are not enforced", both(
		previewed(np("x/deny", "podSelector: {}")),
		np("x/web", "podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]"),
		previewed(np("x/more", "podSelector: {}, ingress: [{}]")),
		previewed(cnp("admin", AdminTier, 1, "subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]"))), []judgement{
		{"in web > client tcp 80", "allow"},
		{"in client > web tcp 80", "allow NetworkPolicy x/web 0"},
		{"in client > web tcp 81", "deny NetworkPolicy x/web"},
	}}})
}

func TestPreview(t *testing.T) {
	w := town().with(t, both(
		previewed(cnp("nodes", AdminTier, 1, "subject: {namespaces: {}}, egress: [{name: none, action: Deny, to: [{nodes: {}}]}]")),
		np("x/web", "podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]"),
		previewed(np("x/client", "podSelector: {matchLabels: {app: client}}, policyTypes: [Egress, Ingress], egress: [{ports: [{port: 80}]}]")),
		previewed(np("x/base", "podSelector: {matchLabels: {app: none}}"))))
	flow := func(from, to string, protocol Protocol, port uint16, host bool) Connection {
		return Connection{Packet: Packet{w.address(t, from), w.address(t, to), protocol, port}, Host: host, FromPort: 4000}
	}
	flows := []Connection{
		flow("client", "web", TCP, 80, false),
		flow("client", "web", TCP, 81, false), // forbidden already, by who is enforced
		flow("client", "shop", TCP, 81, false),
		flow("shop", "client", UDP, 53, false),
		flow("client", "n1", TCP, 10250, true),
		flow("198.51.100.7", "web", TCP, 80, false),
		flow("client", "shop", TCP, 81, false),
	}
	flows[6].FromPort = 4001
	client := PodKey{"x", "client"}
	isolation := RuleID{Tier: NetworkPolicyTier, Namespace: "x", Policy: "client", Rule: -1}
	want := []Preview{
		{Namespace: "x", Policy: "base"},
		{Namespace: "x", Policy: "client", Cuts: []Cut{
			{flows[2], Egress, client, isolation},
			{flows[3], Ingress, client, isolation},
			{flows[6], Egress, client, isolation},
		}},
		{Policy: "nodes", Cuts: []Cut{{flows[4], Egress, client, RuleID{Tier: AdminTier, Policy: "nodes", Name: "none"}}}},
	}
	if diff := cmp.Diff(want, w.Preview(flows), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
