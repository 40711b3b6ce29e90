package e2e

import (
	"strings"
	"testing"
	"time"
)

// networkPolicies are cases of policies whose pods are in x or z.
var networkPolicies = []policyCase{
	{"none", "", nil},
	{"default deny of ingress", np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress]"), []string{"*>a", "*>b", "*>c"}},
	{"default deny of egress", np("x", "deny", "podSelector: {}\npolicyTypes: [Egress]"), []string{"a>*", "b>*", "c>*"}},
	{"one pod allows another by its label", np("x", "p", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{podSelector: {matchLabels: {app: c}}}]`), []string{"b>a", "d>a", "e>a"}},
	{"union of two policies", np("x", "p", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{podSelector: {matchLabels: {app: c}}}]`) + np("x", "q", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchLabels: {app: e}}}]`), []string{"b>a", "d>a"}},
	{"a namespace", np("x", "p", `podSelector: {matchExpressions: [{key: app, operator: In, values: [b, c]}]}
ingress:
- from: [{namespaceSelector: {matchLabels: {team: z}}}]`), []string{"a>b", "a>c", "b>c", "c>b"}},
	{"empty ingress", np("z", "p", "podSelector: {}\ningress: []\npolicyTypes: [Ingress]"), []string{"*>d", "*>e"}},
	{"one empty rule", np("z", "p", "podSelector: {}\ningress: [{}]"), nil},
	{"a peer that matches nobody", np("x", "p", `podSelector: {matchLabels: {app: b}}
ingress: [{from: [{podSelector: {matchLabels: {app: nobody}}}]}]`), []string{"*>b"}},
	{"TCP only", np("x", "p", "podSelector: {matchLabels: {app: a}}\ningress: [{ports: [{protocol: TCP, port: 7}]}]"), []string{"*>a/udp"}},
	{"another port", np("x", "p", "podSelector: {matchLabels: {app: a}}\ningress: [{ports: [{protocol: TCP, port: 8}, {protocol: UDP, port: 7}]}]"), []string{"*>a/tcp"}},
	{"a range of ports", np("x", "p", "podSelector: {matchLabels: {app: a}}\ningress: [{ports: [{protocol: UDP, port: 1, endPort: 7}]}]"), []string{"*>a/tcp"}},
	{"a named port", np("x", "p", "podSelector: {matchLabels: {app: c}}\ningress: [{ports: [{protocol: TCP, port: echo}]}]"), []string{"*>c/udp"}},
	{"egress to a named port", np("z", "p", `podSelector: {matchLabels: {app: e}}
policyTypes: [Egress]
egress: [{to: [{namespaceSelector: {matchLabels: {team: x}}}], ports: [{protocol: TCP, port: echo}]}]`), []string{"e>a/udp", "e>b/udp", "e>c/udp", "e>d"}},
	{"blocks of addresses", np("x", "p", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: "::/0"}}]`), nil},
	{"both directions", np("x", "p", `podSelector: {matchLabels: {app: a}}
policyTypes: [Ingress, Egress]
ingress: [{from: [{podSelector: {matchLabels: {app: b}}}]}]
egress: [{to: [{podSelector: {matchLabels: {app: c}}}]}]`), []string{"c>a", "d>a", "e>a", "a>b", "a>d", "a>e"}},
}

// clusterPolicies are cases of ClusterNetworkPolicies, and of both kinds.
var clusterPolicies = []policyCase{
	{"Admin denies what NetworkPolicy allows", cnp("deny", "Admin", 1, `ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: z}}}]}]`) +
		np("x", "all", "podSelector: {}\ningress: [{}]"), []string{"d>a", "d>b", "d>c", "e>a", "e>b", "e>c"}},
	{"Admin accepts what NetworkPolicy denies", cnp("accept", "Admin", 1, `ingress: [{action: Accept, from: [{namespaces: {matchLabels: {team: z}}}]}]`) +
		np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress]"), []string{"a>b", "a>c", "b>a", "b>c", "c>a", "c>b"}},
	{"Pass leaves it to NetworkPolicy", cnp("pass", "Admin", 1, `ingress: [{action: Pass, from: [{namespaces: {}}]}]`) +
		cnp("deny", "Admin", 2, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`) +
		np("x", "deny", "podSelector: {matchLabels: {app: a}}\npolicyTypes: [Ingress]"), []string{"*>a"}},
	{"Baseline is for pods without NetworkPolicy", cnp("deny", "Baseline", 1, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`) +
		np("x", "all", "podSelector: {matchLabels: {app: a}}\ningress: [{}]"), []string{"*>b", "*>c"}},
	{"egress by networks", cnp("deny", "Admin", 1, `egress: [{action: Deny, to: [{networks: [10.244.0.0/16, "fd00:10:244::/48"]}]}]`),
		[]string{"a>*", "b>*", "c>*"}},
	{"domain names deny all that they could", cnp("names", "Admin", 1, `egress: [{action: Accept, to: [{domainNames: ["example.org"]}]}]`) +
		cnp("rest", "Admin", 2, `egress: [{action: Deny, to: [{namespaces: {matchLabels: {team: z}}}]}]`), []string{"a>d", "a>e", "b>d", "b>e", "c>d", "c>e"}},
}

// np is a NetworkPolicy, of which spec is given.
func np(namespace, name, spec string) string {
	return "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec:\n  " +
		strings.ReplaceAll(spec, "\n", "\n  ") + "\n"
}

// cnp is a ClusterNetworkPolicy for the pods of x, of which the rest of the spec is given.
func cnp(name, tier string, priority int, rules string) string {
	return "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: " + name + "}\nspec:\n  tier: " + tier +
		"\n  priority: " + string(rune('0'+priority)) + "\n  subject: {namespaces: {matchLabels: {team: x}}}\n  " + rules + "\n"
}

// TestPolicies: who reaches whom by TCP and UDP, over IPv4 and IPv6, on the same node and over the mesh.
func TestPolicies(t *testing.T) {
	ctx := testContext(t)
	s := policyScene(ctx, t)
	start := time.Now()
	for _, c := range append(networkPolicies[:len(networkPolicies):len(networkPolicies)], clusterPolicies...) {
		t.Run(c.name, func(t *testing.T) { s.run(ctx, t, c) })
	}
	t.Logf("%d cases in %s", len(networkPolicies)+len(clusterPolicies), time.Since(start).Round(time.Second))
}
