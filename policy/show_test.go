package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShow(t *testing.T) {
	w := town().with(t, both(
		np("x/web", "podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 443}, {port: http}, {protocol: UDP, port: 1, endPort: 9}]}, {ports: [{protocol: SCTP}]}]"),
		np("x/none", "podSelector: {}"),
		previewed(np("x/later", "podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: dns}}}]}]")),
		np("x/others", "podSelector: {matchLabels: {app: client}}"),
		cnp("guests", AdminTier, 7, "subject: {namespaces: {matchLabels: {team: a}}}, egress: [{name: no control plane, action: Deny, to: [{nodes: {}}], protocols: [{tcp: {destinationPort: {number: 6443}}}, {destinationNamedPort: api}]}, {action: Pass, to: [{networks: [0.0.0.0/0]}]}]"),
		cnp("base", BaselineTier, 1, "subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}, ingress: [{action: Deny, from: [{namespaces: {matchExpressions: [{key: team, operator: NotIn, values: [a]}]}}], protocols: [{tcp: {destinationPort: {range: {start: 1, end: 9}}}}]}]")))
	for _, c := range []struct {
		pod  PodKey
		want string
	}{
		{PodKey{"x", "web"}, `
x/web (10.0.0.2, fd00::2)
ingress:
  NetworkPolicy x/none
    no rules
  NetworkPolicy x/web
    [0] allow from pods with app=client of its namespace, 10.0.0.0/8 except 10.1.0.0/16; tcp 443, tcp http, udp 1-9
    [1] allow from anywhere; sctp
  ClusterNetworkPolicy base in tier Baseline with priority 1, not reached: NetworkPolicy decides before it
    [0] deny from all pods of namespaces with team notin (a); tcp 1-9
  everything else: denied, because NetworkPolicy isolates it
egress:
  ClusterNetworkPolicy guests in tier Admin with priority 7
    [0] "no control plane" deny to all nodes; tcp 6443, port api
    [1] pass to 0.0.0.0/0; anything
  NetworkPolicy x/later, previewed: not enforced
    [0] allow to pods with app=dns of all namespaces; anything
  everything else: allowed
`},
		{PodKey{"x", "host"}, `
x/host (192.0.2.1)
  it uses its node's network, where no policy applies
`},
		{PodKey{"z", "stray"}, `
z/stray (10.0.2.1)
ingress:
  everything else: allowed
egress:
  everything else: allowed
`},
	} {
		shown, err := w.Show(c.pod)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), shown.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, err := w.Show(PodKey{"x", "nobody"}); err == nil || err.Error() != "x/nobody: want a pod that is there" {
		t.Errorf("got %v", err)
	}
}
