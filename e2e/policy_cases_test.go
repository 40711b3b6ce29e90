package e2e

import (
	"fmt"
	"strings"
)

// networkPolicies are cases of policies whose pods are in x or z. A rule with ports is never one for ICMP.
var networkPolicies = []policyCase{
	{name: "none"},
	// Isolation is by direction, and a union.
	{"default deny of ingress", np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress]"), []string{"*>a,b,c"}, nil},
	{"default deny of egress", np("x", "deny", "podSelector: {}\npolicyTypes: [Egress]"), []string{"a,b,c>*"}, nil},
	{"default deny of both", np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress, Egress]"), []string{"a,b,c>*", "*>a,b,c"}, nil},
	{"one pod allows another by its label", onA(`ingress:
- from: [{podSelector: {matchLabels: {app: c}}}]`), []string{"b,d,e>a"}, nil},
	{"union of two policies", onA(`ingress:
- from: [{podSelector: {matchLabels: {app: c}}}]`) + np("x", "q", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchLabels: {app: e}}}]`), []string{"b,d>a"}, nil},
	{"one policy for each direction", onA("policyTypes: [Ingress]") + np("x", "q", `podSelector: {matchLabels: {app: a}}
policyTypes: [Egress]
egress: [{to: [{podSelector: {}}]}]`), []string{"*>a", "a>d,e"}, nil},
	{"both directions in one", onA(`policyTypes: [Ingress, Egress]
ingress: [{from: [{podSelector: {matchLabels: {app: b}}}]}]
egress: [{to: [{podSelector: {matchLabels: {app: c}}}]}]`), []string{"c,d,e>a", "a>b,d,e"}, nil},
	{"egress rules isolate without policyTypes", onA("egress: [{to: [{podSelector: {matchLabels: {app: c}}}]}]"), []string{"*>a", "a>b,d,e"}, nil},
	{"ingress rules of a policy of egress", onA("policyTypes: [Egress]\ningress: [{from: [{podSelector: {matchLabels: {app: c}}}]}]"),
		[]string{"a>*"}, nil},
	// The empty forms.
	{"empty ingress", np("z", "p", "podSelector: {}\ningress: []\npolicyTypes: [Ingress]"), []string{"*>d,e"}, nil},
	{"empty egress", np("z", "p", "podSelector: {}\negress: []\npolicyTypes: [Egress]"), []string{"d,e>*"}, nil},
	{"one empty rule", np("z", "p", "podSelector: {}\ningress: [{}]\negress: [{}]\npolicyTypes: [Ingress, Egress]"), nil, nil},
	{"empty from", onA("ingress: [{from: [], ports: [{protocol: UDP, port: 7}]}]"), []string{"*>a/tcp,tcp8,sctp,icmp"}, nil},
	{"empty ports", onA("ingress: [{from: [{podSelector: {matchLabels: {app: c}}}], ports: []}]"), []string{"b,d,e>a"}, nil},
	{"empty to, and empty ports", onA("policyTypes: [Egress]\negress: [{to: [], ports: []}]"), nil, nil},
	{"the empty selector of pods", onA("ingress: [{from: [{podSelector: {}}]}]"), []string{"d,e>a"}, nil},
	{"the empty selector of namespaces", onA("ingress: [{from: [{namespaceSelector: {}}]}]"), nil, nil},
	{"both, empty", onA("ingress: [{from: [{namespaceSelector: {}, podSelector: {}}]}]"), nil, nil},
	{"a peer that matches nobody", np("x", "p", `podSelector: {matchLabels: {app: b}}
ingress: [{from: [{podSelector: {matchLabels: {app: nobody}}}]}]`), []string{"*>b"}, nil},
	{"a namespace that is none", onA("ingress: [{from: [{namespaceSelector: {matchLabels: {team: none}}}]}]"), []string{"*>a"}, nil},
	{"a subject that is nobody", np("x", "p", "podSelector: {matchLabels: {app: nobody}}"), nil, nil},
	// Selectors.
	{"a namespace", np("x", "p", `podSelector: {matchExpressions: [{key: app, operator: In, values: [b, c]}]}
ingress:
- from: [{namespaceSelector: {matchLabels: {team: z}}}]`), []string{"a>b,c", "b>c", "c>b"}, nil},
	{"pods of a namespace", onA("ingress: [{from: [{namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchLabels: {role: front}}}]}]"),
		[]string{"b,c,e>a"}, nil},
	{"a namespace, or pods of the own", onA("ingress: [{from: [{namespaceSelector: {matchLabels: {team: z}}}, {podSelector: {matchLabels: {role: back}}}]}]"),
		[]string{"c>a"}, nil},
	{"In", np("z", "p", "podSelector: {}\ningress: "+fromEverywhere("key: role, operator: In, values: [front, back]")), []string{"c>d,e", "e>d"}, nil},
	{"NotIn, of those without, too", np("z", "p", "podSelector: {}\ningress: "+fromEverywhere("key: role, operator: NotIn, values: [front]")),
		[]string{"a>d,e", "d>e"}, nil},
	{"Exists", np("z", "p", "podSelector: {}\ningress: "+fromEverywhere("key: role, operator: Exists")), []string{"c>d,e", "e>d"}, nil},
	{"DoesNotExist", np("z", "p", "podSelector: {}\ningress: "+fromEverywhere("key: role, operator: DoesNotExist")), []string{"a,b>d,e", "d>e"}, nil},
	{"namespaces by an expression", onA("ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}, {key: team, operator: NotIn, values: [x]}]}}]}]"),
		[]string{"b,c>a"}, nil},
	{"a subject by an expression", np("x", "p", "podSelector: {matchExpressions: [{key: role, operator: DoesNotExist}]}"), []string{"*>c"}, nil},
	// Ports.
	{"TCP only", onA("ingress: [{ports: [{protocol: TCP, port: 7}]}]"), []string{"*>a/tcp8,udp,sctp,icmp"}, nil},
	{"SCTP only", onA("ingress: [{ports: [{protocol: SCTP, port: 7}]}]"), []string{"*>a/tcp,tcp8,udp,icmp"}, nil},
	{"a protocol without a port", onA("ingress: [{ports: [{protocol: TCP}]}]"), []string{"*>a/udp,sctp,icmp"}, nil},
	{"a port without a protocol", onA("ingress: [{ports: [{port: 8}]}]"), []string{"*>a/tcp,udp,sctp,icmp"}, nil},
	{"several", onA("ingress: [{ports: [{protocol: TCP, port: 8}, {protocol: UDP, port: 7}, {protocol: SCTP, port: 8}]}]"), []string{"*>a/tcp,sctp,icmp"}, nil},
	{"a range of ports", onA("ingress: [{ports: [{protocol: UDP, port: 1, endPort: 7}, {port: 8, endPort: 9000}]}]"), []string{"*>a/tcp,sctp,icmp"}, nil},
	{"a range of one", onA("ingress: [{ports: [{port: 7, endPort: 7}, {protocol: SCTP, port: 1, endPort: 65535}]}]"), []string{"*>a/tcp8,udp,icmp"}, nil},
	{"a named port", np("x", "p", "podSelector: {}\ningress: [{ports: [{protocol: TCP, port: echo}, {protocol: SCTP, port: signal}]}]"),
		[]string{"*>a,b/tcp8,udp,icmp", "*>c/tcp,udp,icmp"}, nil},
	{"egress to a named port", np("z", "p", `podSelector: {matchLabels: {app: d}}
policyTypes: [Egress]
egress: [{to: [{namespaceSelector: {matchLabels: {team: x}}}], ports: [{protocol: TCP, port: echo}]}]`),
		[]string{"d>a,b/tcp8,udp,sctp,icmp", "d>c/tcp,udp,sctp,icmp", "d>e"}, nil},
	{"egress to a name everywhere", np("z", "p", "podSelector: {}\npolicyTypes: [Egress]\negress: [{ports: [{port: echo}, {protocol: UDP, port: talk}]}]"),
		[]string{"d,e>a,b,d/tcp8,sctp,icmp", "d,e>c,e/tcp,sctp,icmp"}, nil},
	{"a name of another protocol", np("x", "p", "podSelector: {}\ningress: [{ports: [{protocol: UDP, port: echo}, {port: talk}]}]"), []string{"*>a,b,c"}, nil},
	// Blocks of addresses.
	{"all addresses", onA(`ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: "::/0"}}]}]`), nil, nil},
	{"all of one family", onA("ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]"), []string{"*>a//6"}, nil},
	{"all but one", onA(`ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [$c4/32]}}, {ipBlock: {cidr: "::/0", except: ["$c6/128"]}}]}]`), []string{"c>a"}, nil},
	{"one address of each family", onA(`ingress: [{from: [{ipBlock: {cidr: $c4/32}}, {ipBlock: {cidr: "$d6/128"}}]}]`), []string{"b,e>a", "c>a//6", "d>a//4"}, nil},
	{"an overlap that fills what is excepted", onA(`ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16, except: [$net24]}}, {ipBlock: {cidr: $d4/32}},
    {ipBlock: {cidr: "fd00:10:244::/48", except: ["$net26"]}}, {ipBlock: {cidr: "$d6/128"}}]}]`), []string{"c>a"}, nil},
	{"halves of everything, and one within", onA(`ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/1}}, {ipBlock: {cidr: 10.0.0.0/8, except: [$c4/32]}}]}]`),
		[]string{"*>a//6"}, nil},
	{"egress to a block, by a port", onA(`policyTypes: [Egress]
egress: [{to: [{ipBlock: {cidr: $net24}}, {ipBlock: {cidr: "$net36"}}], ports: [{port: 7}]}]`),
		[]string{"a>b", "a>c,d,e/tcp8,udp,sctp,icmp", "a>c,d//6", "a>e//4"}, nil},
	{"egress to a block, by a name", onA(`policyTypes: [Egress]
egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: echo}]}]`),
		[]string{"a>*//6", "a>b,d/tcp8,udp,sctp,icmp", "a>c,e/tcp,udp,sctp,icmp"}, nil},
}

// clusterPolicies are cases of ClusterNetworkPolicies, and of both kinds.
var clusterPolicies = []policyCase{
	{"Admin denies what NetworkPolicy allows", cnp("deny", "Admin", 1, `ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: z}}}]}]`) +
		np("x", "all", "podSelector: {}\ningress: [{}]"), []string{"d,e>a,b,c"}, nil},
	{"Admin accepts what NetworkPolicy denies", cnp("accept", "Admin", 1, `ingress: [{action: Accept, from: [{namespaces: {matchLabels: {team: z}}}]}]`) +
		np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress]"), []string{"a>b,c", "b>a,c", "c>a,b"}, nil},
	{"Pass leaves it to NetworkPolicy", cnp("pass", "Admin", 1, `ingress: [{action: Pass, from: [{namespaces: {}}]}]`) +
		cnp("deny", "Admin", 2, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`) +
		np("x", "deny", "podSelector: {matchLabels: {app: a}}\npolicyTypes: [Ingress]"), []string{"*>a"}, nil},
	{"Pass leaves it to Baseline where there is none", cnp("pass", "Admin", 1, `ingress: [{action: Pass, from: [{namespaces: {matchLabels: {team: z}}}]}]`) +
		cnp("deny", "Admin", 2, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`) +
		cnp("base", "Baseline", 1, `ingress: [{action: Deny, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: e}}}}]}]`),
		[]string{"a,b,c,e>a,b,c"}, nil},
	{"the lower priority goes first", cnp("accept", "Admin", 3, `ingress: [{action: Accept, from: [{pods: {namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchLabels: {app: d}}}}]}]`) +
		cnp("deny", "Admin", 7, `ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: z}}}]}]`), []string{"e>a,b,c"}, nil},
	{"and the higher last", cnp("accept", "Admin", 7, `ingress: [{action: Accept, from: [{pods: {namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchLabels: {app: d}}}}]}]`) +
		cnp("deny", "Admin", 3, `ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: z}}}]}]`), []string{"d,e>a,b,c"}, nil},
	{"the first rule of a policy decides", cnp("order", "Admin", 1, `ingress:
  - {action: Deny, from: [{namespaces: {matchLabels: {team: z}}}], protocols: [{tcp: {destinationPort: {number: 7}}}]}
  - {action: Accept, from: [{namespaces: {matchLabels: {team: z}}}]}
  - {action: Deny, from: [{namespaces: {}}]}`), []string{"d,e>a,b,c/tcp", "a>b,c", "b>a,c", "c>a,b"}, nil},
	{"Baseline is for pods without NetworkPolicy", cnp("deny", "Baseline", 1, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`) +
		np("x", "all", "podSelector: {matchLabels: {app: a}}\ningress: [{}]"), []string{"*>b,c"}, nil},
	{"and for the other direction", cnp("deny", "Baseline", 1, "ingress: [{action: Deny, from: [{namespaces: {}}]}]\n  egress: [{action: Deny, to: [{namespaces: {matchLabels: {team: z}}}]}]") +
		np("x", "all", "podSelector: {matchLabels: {app: a}}\ningress: [{}]"), []string{"*>b,c", "a,b,c>d,e"}, nil},
	{"Baseline has priorities, too", cnp("accept", "Baseline", 1, `ingress: [{action: Accept, from: [{namespaces: {matchLabels: {team: x}}}]}]`) +
		cnp("deny", "Baseline", 2, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`), []string{"d,e>a,b,c"}, nil},
	{"subjects by pods", cnpOf("pods", "Admin", 1, "pods: {namespaceSelector: {}, podSelector: {matchLabels: {role: front}}}",
		`ingress: [{action: Deny, from: [{namespaces: {}}]}]`), []string{"*>a,d"}, nil},
	{"ports, ranges and names", cnp("ports", "Admin", 1, `ingress:
  - {action: Accept, from: [{namespaces: {}}], protocols: [{destinationNamedPort: echo}, {udp: {destinationPort: {range: {start: 1, end: 7}}}}]}
  - {action: Deny, from: [{namespaces: {}}]}`), []string{"*>a,b/tcp8,sctp,icmp", "*>c/tcp,sctp,icmp"}, nil},
	{"SCTP, and no other", cnp("sctp", "Admin", 1, `ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [{sctp: {destinationPort: {number: 7}}}]}]`),
		[]string{"*>a,b,c/sctp"}, nil},
	{"egress to a named port", cnp("named", "Admin", 1, `egress: [{action: Deny, to: [{namespaces: {matchLabels: {team: z}}}], protocols: [{destinationNamedPort: echo}]}]`),
		[]string{"a,b,c>d/tcp", "a,b,c>e/tcp8"}, nil},
	{"egress by networks", cnp("deny", "Admin", 1, `egress: [{action: Deny, to: [{networks: [10.244.0.0/16, "fd00:10:244::/48"]}]}]`), []string{"a,b,c>*"}, nil},
	{"networks within networks", cnp("accept", "Admin", 1, `egress: [{action: Accept, to: [{networks: [$c4/32, "$e6/128"]}]}]`) +
		cnp("deny", "Admin", 2, `egress: [{action: Deny, to: [{networks: [0.0.0.0/0, "::/0"]}]}]`), []string{"a,b,c>a,b,d", "a,b>c//6", "a,b,c>e//4"}, nil},
}

// np is a NetworkPolicy, of which spec is given.
func np(namespace, name, spec string) string {
	return "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec:\n  " +
		strings.ReplaceAll(spec, "\n", "\n  ") + "\n"
}

// onA is a NetworkPolicy for pod a, of which the rest of spec is given.
func onA(rest string) string { return np("x", "p", "podSelector: {matchLabels: {app: a}}\n"+rest) }

// fromEverywhere are rules for the pods of all namespaces that an expression selects.
func fromEverywhere(expression string) string {
	return "[{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{" + expression + "}]}}]}]"
}

// cnp is a ClusterNetworkPolicy for the pods of x, of which the rest of the spec is given.
func cnp(name, tier string, priority int, rules string) string {
	return cnpOf(name, tier, priority, "namespaces: {matchLabels: {team: x}}", rules)
}

func cnpOf(name, tier string, priority int, subject, rules string) string {
	return fmt.Sprintf("---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: %s}\nspec:\n  tier: %s\n  priority: %d\n  subject: {%s}\n  %s\n",
		name, tier, priority, subject, rules)
}
