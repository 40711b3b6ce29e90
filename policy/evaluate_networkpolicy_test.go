package policy

import "testing"

func TestJudgeIsolation(t *testing.T) {
	runJudge(t, []judgeCase{
		{"no rules isolate", np("x/deny", "podSelector: {matchLabels: {app: web}}"), []judgement{
			{"in client > web tcp 80", "deny NetworkPolicy x/deny"},
			{"in 198.51.100.7 > web icmp", "deny NetworkPolicy x/deny"},
			{"in n2 > web tcp 80", "deny NetworkPolicy x/deny"},
			{"out web > client tcp 80", "allow"},
			{"in web > client tcp 80", "allow"},
			{"in client > shop tcp 80", "allow"},
		}},
		{"empty list of rules isolates", np("x/deny", "podSelector: {}, ingress: [], policyTypes: [Ingress]"), []judgement{
			{"in client > web tcp 80", "deny NetworkPolicy x/deny"},
			{"in web > client udp 80", "deny NetworkPolicy x/deny"},
		}},
		{"an empty rule allows everything", np("x/allow", "podSelector: {}, ingress: [{}]"), []judgement{
			{"in client > web tcp 80", "allow NetworkPolicy x/allow 0"},
			{"in 198.51.100.7 > web icmp", "allow NetworkPolicy x/allow 0"},
		}},
		{"empty from and ports allow everything", np("x/allow", "podSelector: {}, ingress: [{from: [], ports: []}]"), []judgement{
			{"in stray > web sctp 80", "allow NetworkPolicy x/allow 0"},
		}},
		{"egress by default only with rules", both(np("x/a", "podSelector: {matchLabels: {app: web}}, egress: []"),
			np("x/b", "podSelector: {matchLabels: {app: client}}, egress: [{ports: [{port: 53, protocol: UDP}]}]")), []judgement{
			{"out web > client tcp 80", "allow"},
			{"in web > client tcp 80", "deny NetworkPolicy x/b"},
			{"out client > web tcp 80", "deny NetworkPolicy x/b"},
			{"out client > web udp 53", "allow NetworkPolicy x/b 0"},
		}},
		{"only egress", np("x/a", "podSelector: {}, policyTypes: [Egress], ingress: [{}]"), []judgement{
			{"in client > web tcp 80", "allow"},
			{"out client > web tcp 80", "deny NetworkPolicy x/a"},
			{"out client > 198.51.100.7 icmp", "deny NetworkPolicy x/a"},
			{"host client > n1 tcp 10250", "allow"},
			{"out client > client tcp 80", "allow"},
		}},
		{"union", both(np("x/deny", "podSelector: {}"), np("x/two", "podSelector: {}, ingress: [{ports: [{port: 81}]}, {ports: [{port: 80}]}]"),
			np("x/one", "podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]")), []judgement{
			{"in client > web tcp 80", "allow NetworkPolicy x/one 0"},
			{"in web > client tcp 80", "allow NetworkPolicy x/two 1"},
			{"in client > web tcp 82", "deny NetworkPolicy"},
		}},
		{"hostNetwork pods are never a subject", np("x/deny", "podSelector: {}, policyTypes: [Ingress, Egress]"), []judgement{
			{"in client > host tcp 80", "allow"},
			{"out host > client tcp 80", "allow"},
		}},
		{"a selector that cannot be read selects all", np("x/bad", "podSelector: {matchExpressions: [{key: app, operator: Like}]}"), []judgement{
			{"in client > web tcp 80", "deny NetworkPolicy x/bad"},
			{"in web > client tcp 80", "deny NetworkPolicy x/bad"},
			{"in client > shop tcp 80", "allow"},
		}},
	})
}

func TestJudgePeers(t *testing.T) {
	from := func(peers string) string { return np("x/p", "podSelector: {}, ingress: [{from: ["+peers+"]}]") }
	const yes, no = "allow NetworkPolicy x/p 0", "deny NetworkPolicy x/p"
	runJudge(t, []judgeCase{
		{"pods of the own namespace", from("podSelector: {}"), []judgement{
			{"in client > web tcp 80", yes}, {"in shop > web tcp 80", no}, {"in n1 > web tcp 80", no},
		}},
		{"pods by label", from("podSelector: {matchLabels: {app: web}}"), []judgement{
			{"in client > web tcp 80", no}, {"in web > client tcp 80", yes}, {"in shop > web tcp 80", no}, {"in n1 > web tcp 80", no},
		}},
		{"namespaces", from("namespaceSelector: {matchLabels: {team: b}}"), []judgement{
			{"in client > web tcp 80", no}, {"in shop > web tcp 80", yes}, {"in stray > web tcp 80", no},
		}},
		{"all namespaces", from("namespaceSelector: {}"), []judgement{
			{"in stray > web tcp 80", yes}, {"in 198.51.100.7 > web tcp 80", no}, {"in n1 > web tcp 80", no},
		}},
		{"a namespace that is not known yet has its name", from("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: z}}"), []judgement{
			{"in stray > web tcp 80", yes}, {"in shop > web tcp 80", no},
		}},
		{"both in one peer", from("{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: web}}}"), []judgement{
			{"in shop > web tcp 80", yes}, {"in other > web tcp 80", no}, {"in web > client tcp 80", no},
		}},
		{"both in two peers", from("{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: web}}}"), []judgement{
			{"in shop > web tcp 80", yes}, {"in other > web tcp 80", yes}, {"in web > client tcp 80", yes}, {"in stray > web tcp 80", no},
		}},
		{"operators", from("podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}, {key: app, operator: Exists}, {key: b, operator: DoesNotExist}]}"),
			[]judgement{{"in client > web tcp 80", yes}, {"in web > client tcp 80", no}}},
		{"a peer that no pod matches", from("podSelector: {matchLabels: {app: none}}"), []judgement{
			{"in client > web tcp 80", no}, {"in 198.51.100.7 > web tcp 80", no},
		}},
		{"a peer of an unknown kind", from("{}"), []judgement{{"in client > web tcp 80", no}}},
		{"a selector that cannot be read", from("podSelector: {matchExpressions: [{key: app, operator: In}]}"), []judgement{
			{"in client > web tcp 80", no}, {"in web > client tcp 80", no},
		}},
		{"blocks are of addresses, whosever they are", from("ipBlock: {cidr: 10.0.1.0/24, except: [10.0.1.3/32]}"), []judgement{
			{"in shop > web tcp 80", yes}, {"in other > web tcp 80", no}, {"in 10.0.1.77 > web tcp 80", yes}, {"in client > web tcp 80", no},
		}},
		{"all of a family", from("ipBlock: {cidr: 0.0.0.0/0}"), []judgement{
			{"in n1 > web tcp 80", yes}, {"in client > web icmp", yes}, {"in client6 > web6 tcp 80", no},
		}},
		{"overlapping blocks", from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.1.0/24]}}, {ipBlock: {cidr: 10.0.1.2/31}}"), []judgement{
			{"in client > web tcp 80", yes}, {"in shop > web tcp 80", yes}, {"in 10.0.1.4 > web tcp 80", no},
		}},
		{"host bits do not count", from("ipBlock: {cidr: fd00::ffff/32}"), []judgement{{"in client6 > web6 tcp 80", yes}}},
		{"a block that cannot be read", from("{ipBlock: {cidr: 10.0.0.0}}, {ipBlock: {cidr: 10.0.1.0/24}}"), []judgement{
			{"in client > web tcp 80", no}, {"in shop > web tcp 80", yes},
		}},
		{"a block of IPv4 in IPv6", from("ipBlock: {cidr: '::ffff:10.0.0.0/104'}"), []judgement{{"in client > web tcp 80", no}}},
		{"an exception that cannot be read", from("ipBlock: {cidr: 10.0.0.0/8, except: [10.0.1.0/99]}"), []judgement{
			{"in client > web tcp 80", no},
		}},
	})
}

func TestJudgePorts(t *testing.T) {
	const yes, no = "allow NetworkPolicy x/p 0", "deny NetworkPolicy x/p"
	to := func(ports string) string {
		return np("x/p", "podSelector: {}, policyTypes: [Egress], egress: [{ports: ["+ports+"]}]")
	}
	in := func(ports string) string { return np("x/p", "podSelector: {}, ingress: [{ports: ["+ports+"]}]") }
	runJudge(t, []judgeCase{
		{"TCP by default", to("port: 80"), []judgement{
			{"out client > web tcp 80", yes}, {"out client > web udp 80", no}, {"out client > web sctp 80", no}, {"out client > web icmp", no},
			{"out client > 198.51.100.7 tcp 80", yes}, {"out client > web tcp 81", no},
		}},
		{"SCTP is not TCP", to("{port: 80, protocol: SCTP}"), []judgement{{"out client > web sctp 80", yes}, {"out client > web tcp 80", no}}},
		{"a protocol's every port", to("protocol: UDP"), []judgement{
			{"out client > web udp 1", yes}, {"out client > web udp 65535", yes}, {"out client > web tcp 1", no},
		}},
		{"a range", to("{port: 80, endPort: 90}"), []judgement{
			{"out client > web tcp 79", no}, {"out client > web tcp 80", yes}, {"out client > web tcp 90", yes}, {"out client > web tcp 91", no},
			{"out client > web udp 85", no},
		}},
		{"a name is each destination's own", to("port: http"), []judgement{
			{"out client > web tcp 80", yes}, {"out client > web tcp 8080", no},
			{"out client > shop tcp 8080", yes}, {"out client > shop tcp 80", no}, {"out client > shop udp 8080", no},
			{"out client > other tcp 80", no}, {"out client > 198.51.100.7 tcp 80", no}, {"out client > host tcp 9000", no},
			{"out client6 > shop6 tcp 8080", yes},
		}},
		{"a name and a protocol", to("{port: http, protocol: UDP}"), []judgement{
			{"out client > shop udp 8080", yes}, {"out client > shop tcp 8080", no}, {"out client > web udp 80", no},
		}},
		{"a name of the subject's", in("port: http"), []judgement{
			{"in 198.51.100.7 > web tcp 80", yes}, {"in client > web tcp 8080", no}, {"in web > client tcp 80", no},
		}},
		{"a name that no pod has", to("port: none"), []judgement{{"out client > web tcp 80", no}}},
		{"a range of names", to("{port: http, endPort: 90}"), []judgement{{"out client > web tcp 80", no}}},
		{"a range without a start", to("{endPort: 90}"), []judgement{{"out client > web tcp 80", no}}},
		{"a range that ends before it starts", to("{port: 90, endPort: 80}"), []judgement{{"out client > web tcp 85", no}}},
		{"a port out of range", to("{port: 65536}, {port: 0}"), []judgement{{"out client > web tcp 0", no}}},
		{"an unknown protocol", to("{protocol: ICMP}"), []judgement{{"out client > web icmp", no}}},
	})
}
