package policy

import "testing"

func TestJudgeTiers(t *testing.T) {
	const all = "subject: {namespaces: {}}, "
	rule := func(action, peers string) string { return "{action: " + action + ", from: [" + peers + "]}" }
	const anyone = "namespaces: {}"
	runJudge(t, []judgeCase{
		{"Admin comes before NetworkPolicy", both(np("x/deny", "podSelector: {}"),
			cnp("admin", AdminTier, 1, all+"ingress: [{name: clients, action: Accept, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}]}]")),
			[]judgement{
				{"in client > web tcp 80", "allow Admin admin 0 clients"},
				{"in shop > web tcp 80", "deny NetworkPolicy x/deny"},
				{"in 198.51.100.7 > web tcp 80", "deny NetworkPolicy x/deny"},
			}},
		{"Admin denies what NetworkPolicy allows", both(np("x/allow", "podSelector: {}, ingress: [{}]"),
			cnp("admin", AdminTier, 1, all+"ingress: ["+rule("Deny", "namespaces: {matchLabels: {team: b}}")+"]")), []judgement{
			{"in shop > web tcp 80", "deny Admin admin 0"}, {"in client > web tcp 80", "allow NetworkPolicy x/allow 0"},
		}},
		{"the lower priority first, then by name", both(
			cnp("b", AdminTier, 5, all+"ingress: ["+rule("Accept", anyone)+"]"), cnp("a", AdminTier, 5, all+"ingress: ["+rule("Deny", anyone)+"]"),
			cnp("c", AdminTier, 4, "subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}, ingress: ["+rule("Accept", anyone)+"]")),
			[]judgement{{"in client > web tcp 80", "allow Admin c 0"}, {"in web > client tcp 80", "deny Admin a 0"}}},
		{"rules in their order", cnp("a", AdminTier, 5, all+"ingress: ["+rule("Accept", "namespaces: {matchLabels: {team: a}}")+", "+rule("Deny", anyone)+"]"),
			[]judgement{{"in client > web tcp 80", "allow Admin a 0"}, {"in shop > web tcp 80", "deny Admin a 1"}, {"in 198.51.100.7 > web tcp 80", "allow"}}},
		{"Pass leaves the tier", both(
			cnp("a", AdminTier, 1, all+"ingress: ["+rule("Pass", "namespaces: {matchLabels: {team: a}}")+"]"), cnp("b", AdminTier, 2, all+"ingress: ["+rule("Deny", anyone)+"]"),
			cnp("c", BaselineTier, 1, all+"ingress: ["+rule("Pass", "namespaces: {}")+"]"), cnp("d", BaselineTier, 2, all+"ingress: ["+rule("Deny", anyone)+"]"),
			np("x/one", "podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]")), []judgement{
			{"in client > web tcp 80", "allow NetworkPolicy x/one 0"}, {"in client > web tcp 81", "deny NetworkPolicy x/one"},
			{"in web > client tcp 80", "allow"}, {"in shop > web tcp 80", "deny Admin b 0"},
		}},
		{"Baseline is for whom no NetworkPolicy selects", both(np("x/one", "podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]"),
			cnp("base", BaselineTier, 1, all+"ingress: ["+rule("Deny", anyone)+"]")), []judgement{
			{"in client > web tcp 80", "allow NetworkPolicy x/one 0"}, {"in client > web tcp 81", "deny NetworkPolicy x/one"},
			{"in web > client tcp 80", "deny Baseline base 0"}, {"in 198.51.100.7 > client tcp 80", "allow"}, {"out web > shop tcp 80", "allow"},
		}},
		{"hostNetwork pods are neither subject nor peer", cnp("a", AdminTier, 1, all+"ingress: ["+rule("Deny", anyone)+"], egress: [{action: Deny, to: [{namespaces: {}}]}]"),
			[]judgement{{"in client > host tcp 80", "allow"}, {"in host > web tcp 80", "allow"}, {"out client > host tcp 80", "allow"}}},
		{"a pod reaches itself", cnp("a", AdminTier, 1, all+"ingress: ["+rule("Deny", anyone)+"]"), []judgement{{"in web > web tcp 80", "allow"}}},
	})
}

func TestJudgeClusterPeers(t *testing.T) {
	to := func(peers, more string) string {
		return cnp("c", AdminTier, 1, "subject: {namespaces: {matchLabels: {team: a}}}, egress: [{action: Deny, to: ["+peers+"]"+more+"}]")
	}
	const no = "deny Admin c 0"
	runJudge(t, []judgeCase{
		{"subject by namespace", to("namespaces: {}", ""), []judgement{{"out client > shop tcp 80", no}, {"out shop > client tcp 80", "allow"}}},
		{"nodes, also the own", to("nodes: {matchLabels: {role: control}}", ""), []judgement{
			{"out client > n1 tcp 80", no}, {"out client6 > n16 tcp 80", no}, {"out client > n2 tcp 80", "allow"}, {"host client > n1 tcp 80", no},
			{"out client > host icmp", no},
		}},
		{"networks", to("networks: [10.0.1.0/31, 10.0.1.3/32]", ""), []judgement{
			{"out client > other tcp 80", no}, {"out client > shop tcp 80", "allow"}, {"out client > 10.0.1.1 icmp", no},
		}},
		{"protocols", to("namespaces: {}", ", protocols: [{tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 50, end: 60}}}}, {sctp: {destinationPort: {number: 81}}}]"),
			[]judgement{
				{"out client > shop tcp 80", no}, {"out client > shop tcp 81", "allow"}, {"out client > shop udp 50", no}, {"out client > shop udp 60", no},
				{"out client > shop udp 61", "allow"}, {"out client > shop sctp 81", no}, {"out client > shop sctp 80", "allow"}, {"out client > shop icmp", "allow"},
			}},
		{"a named port is of any protocol", to("namespaces: {}", ", protocols: [{destinationNamedPort: http}]"), []judgement{
			{"out client > web tcp 80", no}, {"out client > shop udp 8080", no}, {"out client > shop tcp 8080", no}, {"out client > shop tcp 80", "allow"},
		}},
	})
}

func TestJudgeClosedToWhatIsUnknown(t *testing.T) {
	egress := func(action, peers, more string) string {
		return both(cnp("c", AdminTier, 1, "subject: {namespaces: {}}, egress: [{action: "+action+", to: ["+peers+"]"+more+"}]"),
			cnp("d", AdminTier, 2, "subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]"))
	}
	const no, next = "deny Admin c 0", "deny Admin d 0"
	const unreadable = "namespaces: {matchExpressions: [{key: a, operator: In}]}"
	runJudge(t, []judgeCase{
		{"Accept, peer", egress("Accept", "{}, {networks: [10.0.0.0/24]}", ""), []judgement{
			{"out client > shop tcp 80", next}, {"out client > web tcp 80", "allow Admin c 0"},
		}},
		{"Deny, peer", egress("Deny", "{}", ""), []judgement{{"out client > shop tcp 80", no}, {"out client6 > shop6 icmpv6", no}}},
		{"Deny, peer, of one port", egress("Deny", "{}", ", protocols: [{tcp: {destinationPort: {number: 80}}}]"), []judgement{
			{"out client > shop tcp 80", no}, {"out client > shop tcp 81", next},
		}},
		{"Pass, peer", egress("Pass", "{}, {networks: [10.0.0.0/24]}", ""), []judgement{
			{"out client > shop tcp 80", no}, {"out client > web tcp 80", "allow"},
		}},
		{"no peers", egress("Deny", "", ""), []judgement{{"out client > shop tcp 80", no}}},
		{"domain names, Accept", egress("Accept", "domainNames: [example.com]", ""), []judgement{{"out client > 198.51.100.7 tcp 80", next}}},
		{"domain names, Deny", egress("Deny", "domainNames: [example.com]", ""), []judgement{{"out client > 198.51.100.7 tcp 80", no}}},
		{"a selector", egress("Deny", unreadable, ""), []judgement{{"out client > 198.51.100.7 tcp 80", no}}},
		{"a selector of pods", egress("Deny", "pods: {namespaceSelector: {}, podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}", ""), []judgement{
			{"out client > 198.51.100.7 tcp 80", no},
		}},
		{"a selector of nodes", egress("Deny", "nodes: {matchLabels: {'no key': a}}", ""), []judgement{{"out client > 198.51.100.7 tcp 80", no}}},
		{"a network", egress("Deny", "networks: [10.0.0.0/33]", ""), []judgement{{"out client > 198.51.100.7 tcp 80", no}}},
		{"a protocol, Accept", egress("Accept", "namespaces: {}", ", protocols: [{}]"), []judgement{{"out client > shop tcp 80", next}}},
		{"a protocol, Deny", egress("Deny", "namespaces: {}", ", protocols: [{}]"), []judgement{{"out client > shop icmp", no}}},
		{"a port, Accept", egress("Accept", "namespaces: {}", ", protocols: [{tcp: {}}]"), []judgement{{"out client > shop tcp 80", next}}},
		{"a port, Deny", egress("Deny", "namespaces: {}", ", protocols: [{tcp: {destinationPort: {}}}]"), []judgement{
			{"out client > shop tcp 80", no}, {"out client > shop udp 80", next},
		}},
		{"an action", egress("Log", "namespaces: {}", ""), []judgement{{"out client > shop tcp 80", no}}},
		{"a subject, Accept", cnp("c", AdminTier, 1, "subject: {}, ingress: [{action: Accept, from: [{namespaces: {}}]}]"), []judgement{
			{"in client > web tcp 80", "allow"},
		}},
		{"a subject, Deny", cnp("c", BaselineTier, 1, "subject: {"+unreadable+"}, ingress: [{action: Deny, from: [{namespaces: {}}]}]"), []judgement{
			{"in client > web tcp 80", "deny Baseline c 0"}, {"in 198.51.100.7 > web tcp 80", "allow"},
		}},
		{"a subject's pods, Pass", cnp("c", AdminTier, 1, "subject: {pods: {namespaceSelector: {matchExpressions: [{key: a, operator: In}]}, podSelector: {}}}, "+
			"ingress: [{action: Pass, from: [{namespaces: {}}]}]"), []judgement{
			{"in client > web tcp 80", no}, {"in 198.51.100.7 > web tcp 80", "allow"},
		}},
		{"a tier", both(np("x/p", "podSelector: {}, policyTypes: [Egress], egress: [{}]"),
			"kind: ClusterNetworkPolicy\nmetadata: {name: c}\nspec: {tier: Later, subject: {namespaces: {}}, egress: [{action: Deny, to: [{namespaces: {}}]}]}"),
			[]judgement{{"out client > shop tcp 80", no}, {"out client > 198.51.100.7 tcp 80", "allow NetworkPolicy x/p 0"}}},
	})
}

func TestJudgeHostTraffic(t *testing.T) {
	const egress = "subject: {namespaces: {}}, egress: "
	runJudge(t, []judgeCase{{"NetworkPolicy allows it, and ends the walk; the other tiers apply", both(
		np("x/p", "podSelector: {}, policyTypes: [Ingress, Egress]"),
		cnp("admin", AdminTier, 1, egress+"[{action: Pass, protocols: [{tcp: {destinationPort: {number: 53}}}], to: [{nodes: {}}]}, "+
			"{action: Deny, protocols: [{udp: {destinationPort: {number: 53}}}], to: [{nodes: {}}]}]"),
		cnp("base", BaselineTier, 1, egress+"[{action: Deny, to: [{nodes: {}}], protocols: [{tcp: {destinationPort: {range: {start: 53, end: 80}}}}]}]")),
		[]judgement{
			{"host client > n1 tcp 53", "allow"},
			{"host client > n1 udp 53", "deny Admin admin 1"},
			{"host client > n1 tcp 80", "allow"},
			{"out client > n1 tcp 80", "deny NetworkPolicy x/p"},
			{"host shop > n1 tcp 80", "deny Baseline base 0"},
			{"host shop > n1 tcp 53", "deny Baseline base 0"},
			{"host shop > n1 udp 53", "deny Admin admin 1"},
		}}})
}
