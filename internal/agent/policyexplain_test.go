package agent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/policy"
)

// smallWorld is a node n with pods x/web, which is isolated both ways, and x/host of the node's network; x/far is elsewhere.
func smallWorld() (policy.World, surroundings) {
	addr := netip.MustParseAddr
	web := policy.PodKey{Namespace: "x", Name: "web"}
	w := policy.World{
		Pods: []policy.Pod{
			{PodKey: web, Addresses: []netip.Addr{addr("10.0.0.2")}, Ports: []policy.NamedPort{
				{Name: "http", Protocol: policy.TCP, Port: 8080}, {Name: "dns", Protocol: policy.TCP, Port: 53}, {Name: "dns", Protocol: policy.UDP, Port: 53}, {Name: "q", Protocol: policy.UDP, Port: 9},
			}},
			{PodKey: policy.PodKey{Namespace: "x", Name: "far"}, Addresses: []netip.Addr{addr("10.0.1.2")}},
			{PodKey: policy.PodKey{Namespace: "x", Name: "host"}, Addresses: []netip.Addr{addr("192.0.2.1")}, HostNetwork: true},
			{PodKey: policy.PodKey{Namespace: "x", Name: "new"}},
		},
		Policies: []*networkingv1.NetworkPolicy{{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "none"}, Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		}}},
	}
	return w, surroundings{node: []netip.Addr{addr("10.0.0.1"), addr("192.0.2.1")}, local: map[netip.Addr]policy.PodKey{addr("10.0.0.2"): web}}
}

func TestExplainQuestions(t *testing.T) {
	w, here := smallWorld()
	for _, c := range []struct {
		from, to, port string
		want           string // the first line's end, and why at each end; or the error
	}{
		{"x/web", "x/far", "80", "tcp 80: denied; NetworkPolicy x/none isolates it, and no rule of it matches; NetworkPolicy x/none isolates it, and no rule of it matches"},
		{"node", "x/web", "http", "tcp 8080: allowed; this node is no pod; its own node always reaches it"},
		{"192.0.2.1", "10.0.0.2", "http", `error: PORT "http": want a number from 1 to 65535, or icmp; a name is of a port of a pod, and TO is none`},
		{"192.0.2.1", "10.0.0.2", "1/sctp", "sctp 1: allowed; 192.0.2.1 is no pod; its own node always reaches it"},
		{"x/host", "x/web", "q", "udp 9: allowed; it uses its node's network, where no policy applies; its own node always reaches it"},
		{"x/web", "node", "icmp", "icmp: allowed; NetworkPolicy always lets it reach its own node; this node is no pod"},
		{"node", "x/far", "80", "tcp 80: denied; this node is no pod; NetworkPolicy x/none isolates it, and no rule of it matches"},
		{"198.51.100.7", "x/web", "dns/udp", "udp 53: denied; 198.51.100.7 is no pod; NetworkPolicy x/none isolates it, and no rule of it matches"},
		{"x/web", "x/web", "dns", `error: PORT "dns": pod x/web has it for several protocols: want one after it, as in dns/tcp`},
		{"x/web", "x/web", "ftp", `error: PORT "ftp": want a number from 1 to 65535, icmp, or the name of a port of pod x/web, which has no such`},
		{"x/web", "x/web", "80/icmp", `error: PORT "80/icmp": want a number or a port's name, with /tcp, /udp or /sctp after it or nothing, or icmp`},
		{"x/web", "x/web", "65536", `error: PORT "65536": want a number`},
		{"x/nobody", "x/web", "1", `error: FROM "x/nobody": there is no such pod, or it has ended; want NAMESPACE/POD, an address, or node`},
		{"x/web", "web", "1", `error: TO "web": want NAMESPACE/POD, an address, or node`},
		{"x/web", "fe80::1%eth0", "1", `error: TO "fe80::1%eth0": want NAMESPACE/POD, an address, or node`},
		{"x/web", "svc/x/web", "1", `error: TO "svc/x/web": services are not known to policy, which is asked behind them: name one of its pods`},
		{"x/web", "x/new", "1", "error: x/new: want a pod that has an address"},
	} {
		got, err := explain(w, here, socket.Question{From: c.from, To: c.to, Port: c.port})
		var text string
		if err != nil {
			text = "error: " + err.Error()
		} else {
			first, _, _ := strings.Cut(got.Words, "\n")
			_, end, _ := strings.Cut(first, ", "+got.Paths[0].Protocol)
			text = got.Paths[0].Protocol + end + "; " + got.Paths[0].Egress.Why + "; " + got.Paths[0].Ingress.Why
			if got.Allowed != strings.Contains(first, ": allowed") || got.Denied == got.Allowed {
				t.Errorf("%s > %s: allowed %t, denied %t: %s", c.from, c.to, got.Allowed, got.Denied, first)
			}
		}
		if !strings.HasPrefix(text, c.want) {
			t.Errorf("%s > %s %s:\n got %s\nwant %s", c.from, c.to, c.port, text, c.want)
		}
	}
}

// TestExplainRule has the rule in the JSON, for programs.
func TestExplainRule(t *testing.T) {
	w, here := smallWorld()
	got, err := explain(w, here, socket.Question{From: "x/far", To: "x/web", Port: "80"})
	if err != nil {
		t.Fatal(err)
	}
	want := &socket.Rule{Tier: "NetworkPolicy", Namespace: "x", Policy: "none"}
	if d := cmp.Diff(want, got.Paths[0].Ingress.Rule); d != "" || got.Paths[0].Ingress.Pod != "x/web" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
