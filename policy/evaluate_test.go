package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"
)

// town is a world without policies. Each pod and node is known by one name.
func town() World {
	pod := func(namespace, name, app string, addresses ...string) Pod {
		p := Pod{PodKey: PodKey{namespace, name}, Labels: map[string]string{"app": app}}
		for _, a := range addresses {
			p.Addresses = append(p.Addresses, netip.MustParseAddr(a))
		}
		return p
	}
	web := pod("x", "web", "web", "10.0.0.2", "fd00::2")
	web.Ports = []NamedPort{{"http", TCP, 80}, {"dns", UDP, 53}, {"sig", SCTP, 3868}}
	shop := pod("y", "shop", "web", "10.0.1.2", "fd00:0:0:1::2")
	shop.Ports = []NamedPort{{"http", TCP, 8080}, {"http", UDP, 8080}}
	host := pod("x", "host", "web", "192.0.2.1")
	host.Ports, host.HostNetwork = []NamedPort{{"http", TCP, 9000}}, true
	return World{
		Pods: []Pod{
			pod("x", "client", "client", "10.0.0.1", "fd00::1"), web, pod("x", "new", "web"), host,
			shop, pod("y", "other", "other", "10.0.1.3"), pod("z", "stray", "stray", "10.0.2.1"),
		},
		Namespaces: []Namespace{
			{"x", map[string]string{"kubernetes.io/metadata.name": "x", "team": "a"}},
			{"y", map[string]string{"kubernetes.io/metadata.name": "y", "team": "b"}},
		},
		Nodes: []Node{
			{"n1", map[string]string{"role": "control"}, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}},
			{"n2", nil, []netip.Addr{netip.MustParseAddr("192.0.2.2")}},
		},
	}
}

// with adds policies in YAML, several by "---".
func (w World) with(t *testing.T, policies string) World {
	t.Helper()
	for doc := range strings.SplitSeq(policies, "\n---\n") {
		var kind metav1.TypeMeta
		var np networkingv1.NetworkPolicy
		var cnp v1alpha2.ClusterNetworkPolicy
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatal(err)
		}
		into := any(&np)
		if kind.Kind == "ClusterNetworkPolicy" {
			into = &cnp
		}
		if err := yaml.Unmarshal([]byte(doc), into); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "NetworkPolicy":
			w.Policies = append(w.Policies, &np)
		case "ClusterNetworkPolicy":
			w.ClusterPolicies = append(w.ClusterPolicies, &cnp)
		case "":
		default:
			t.Fatalf("unknown kind %q", kind.Kind)
		}
	}
	return w
}

// address is that of a pod, of a node or itself; a name with 6 at its end is the IPv6 one.
func (w World) address(t *testing.T, name string) netip.Addr {
	t.Helper()
	bare, six := strings.CutSuffix(name, "6")
	of := func(addresses []netip.Addr) netip.Addr {
		for _, a := range addresses {
			if a.Is6() == six {
				return a
			}
		}
		t.Fatalf("%s has no such address", name)
		return netip.Addr{}
	}
	for _, p := range w.Pods {
		if p.Name == bare {
			return of(p.Addresses)
		}
	}
	for _, n := range w.Nodes {
		if n.Name == bare {
			return of(n.Addresses)
		}
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask answers a question of the form "in client > web tcp 80", of "out" or, to the own node, "host".
func (w World) ask(t *testing.T, question string) string {
	t.Helper()
	f := strings.Fields(question)
	p := Packet{From: w.address(t, f[1]), To: w.address(t, f[3])}
	for _, protocol := range []Protocol{ICMP, ICMPv6, TCP, UDP, SCTP} {
		if protocol.String() == f[4] {
			p.Protocol = protocol
		}
	}
	if len(f) > 5 {
		port, err := strconv.ParseUint(f[5], 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		p.Port = uint16(port)
	}
	subject, d := f[1], Egress
	if f[0] == "in" {
		subject, d = f[3], Ingress
	}
	key := PodKey{"?", subject}
	for _, pod := range w.Pods {
		if pod.Name == strings.TrimSuffix(subject, "6") {
			key = pod.PodKey
		}
	}
	allowed, by := w.Judge(key, d, p, f[0] == "host")
	return describe(allowed, by)
}

func describe(allowed bool, by RuleID) string {
	words := "deny"
	if allowed {
		words = "allow"
	}
	if by.Tier == NoTier {
		return words
	}
	words += " " + by.Tier.String()
	if by.Policy != "" {
		words += " " + strings.TrimPrefix(by.Namespace+"/"+by.Policy, "/")
	}
	if by.Rule >= 0 {
		words += fmt.Sprintf(" %d", by.Rule)
	}
	if by.Name != "" {
		words += " " + by.Name
	}
	return words
}

// judgement is a question and its answer.
type judgement struct{ ask, want string }

type judgeCase struct {
	name, policies string
	judgements     []judgement
}

func runJudge(t *testing.T, cases []judgeCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := town().with(t, c.policies)
			for _, j := range c.judgements {
				if got := w.ask(t, j.ask); got != j.want {
					t.Errorf("%s: got %q, want %q", j.ask, got, j.want)
				}
			}
		})
	}
}

// np is a NetworkPolicy of a namespace in short: its name, and its spec in YAML's flow style.
func np(name, spec string) string {
	namespace, name, _ := strings.Cut(name, "/")
	return fmt.Sprintf("kind: NetworkPolicy\nmetadata: {namespace: %q, name: %q}\nspec: {%s}", namespace, name, spec)
}

// cnp is a ClusterNetworkPolicy in short: name, tier and priority, and the rest of its spec.
func cnp(name string, tier Tier, priority int, spec string) string {
	return fmt.Sprintf("kind: ClusterNetworkPolicy\nmetadata: {name: %s}\nspec: {tier: %s, priority: %d, %s}", name, tier, priority, spec)
}

func both(policies ...string) string { return strings.Join(policies, "\n---\n") }

func TestJudgeWithoutPolicies(t *testing.T) {
	runJudge(t, []judgeCase{{"default", "", []judgement{
		{"in client > web tcp 80", "allow"},
		{"out client > 198.51.100.7 udp 53", "allow"},
		{"in client6 > web6 icmpv6", "allow"},
		{"host client > n1 tcp 10250", "allow"},
	}}})
	if allowed, _ := town().Judge(PodKey{"x", "nobody"}, Egress, Packet{}, false); allowed {
		t.Error("a pod that nobody knows may send")
	}
}
