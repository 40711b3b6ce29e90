package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"sigs.k8s.io/yaml"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/policy"
)

// policyBadInput: policies that no API server lets in any more, and policies that are far too large. What can be honoured is, the rest is told
// of by an Event, and the other policies hold.
func (s *scene) policyBadInput(ctx context.Context, t *testing.T) {
	t.Run("what the API server lets in", func(t *testing.T) { s.oddPolicies(ctx, t) })
	t.Run("names of domains", func(t *testing.T) { s.domainNames(ctx, t) })
	t.Run("from before validation", func(t *testing.T) { s.unreadablePolicies(ctx, t) })
	t.Run("ten thousand rules", func(t *testing.T) { s.longPolicy(ctx, t) })
	t.Run("500 CIDRs", func(t *testing.T) { s.overlappingBlocks(ctx, t) })
}

// other is a policy that holds whatever the others are like.
var other = np("z", "other", "podSelector: {matchLabels: {app: e}}\ningress: [{from: [{podSelector: {}}]}]")

// oddPolicies have CIDRs that the API server warns of.
func (s *scene) oddPolicies(ctx context.Context, t *testing.T) {
	s.apply(ctx, t, other+onA(`ingress: [{from: [{ipBlock: {cidr: 010.244.000.0/16}}, {ipBlock: {cidr: $c4/24}}, {ipBlock: {cidr: "::ffff:10.244.0.0/112"}}]}]`))
	s.eventOf(ctx, t, "p", "spec.ingress[0].from[0].ipBlock.cidr")
	s.eventOf(ctx, t, "p", "spec.ingress[0].from[2].ipBlock.cidr")
	// The second is c's node's pod CIDR, with c's own address for its base: that is what it means.
	s.reach(ctx, t, "b,e>a", "c,d>a//6", "a,b,c>e")
	s.deletePolicies(ctx, t)
}

// domainNames are not supported: an Accept of them accepts nothing, and a Deny could mean everything.
func (s *scene) domainNames(ctx context.Context, t *testing.T) {
	s.apply(ctx, t, other+cnpOf("names", "Admin", 1, "pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: d}}}",
		`egress:
  - {action: Accept, to: [{domainNames: ["example.org"]}]}
  - {action: Deny, to: [{namespaces: {matchLabels: {team: x}}}]}`))
	s.eventOf(ctx, t, "names", "spec.egress[0].to[0].domainNames")
	s.reach(ctx, t, "d>a,b,c", "a,b,c>e")
	s.deletePolicies(ctx, t)
}

// unreadablePolicies are written past the API server.
func (s *scene) unreadablePolicies(ctx context.Context, t *testing.T) {
	s.apply(ctx, t, other)
	for _, p := range []struct{ key, manifest string }{
		{"networkpolicies/x/old", np("x", "old", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{ipBlock: {cidr: 10.0.0.0/99}}, {ipBlock: {cidr: 10.244.0.0/16, except: [ten]}}, {podSelector: {matchLabels: {app: b}}}]
- from: [{podSelector: {matchLabels: {app: c}}}]
  ports: [{port: 70000}, {port: 8, endPort: 7}, {protocol: TCP, port: 7}]
- from: [{podSelector: {matchLabels: {app: c}}, ipBlock: {cidr: 0.0.0.0/0}}, {podSelector: {matchExpressions: [{key: app, operator: Is, values: [e]}]}}]`)},
		{"policy.networking.k8s.io/clusternetworkpolicies/old", cnpOf("old", "Admin", 1, "pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: d}}}",
			`ingress:
  - {action: Accept, from: [{namespaces: {matchExpressions: [{key: team, operator: Is}]}}]}
  - {action: Deny, from: [{namespaces: {matchLabels: {team: x}}}], protocols: [{tcp: {destinationPort: {number: 70000}}}]}
  egress:
  - {action: Accept, to: [{networks: [10.244.0.0/99]}]}`)},
		{"policy.networking.k8s.io/clusternetworkpolicies/newer", cnpOf("newer", "Admin", 2, "pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: b}}}",
			`ingress:
  - {action: Accept, from: [{widgets: {matchLabels: {team: x}}}]}
  egress:
  - {action: Deny, to: [{widgets: {matchLabels: {team: z}}}], protocols: [{udp: {destinationPort: {number: 7}}}]}`)},
	} {
		if err := s.Cluster().Store(ctx, "/registry/"+p.key, storedJSON(t, p.manifest)); err != nil {
			t.Fatal(err)
		}
	}
	for _, field := range []string{
		"spec.ingress[0].from[0].ipBlock.cidr", "spec.ingress[0].from[1].ipBlock.except[0]", "spec.ingress[1].ports[0].port", "spec.ingress[1].ports[1].port",
		"spec.ingress[2].from[0]", "spec.ingress[2].from[1].podSelector",
		"spec.ingress[0].from[0].namespaces", "spec.ingress[1].protocols[0].tcp.destinationPort", "spec.egress[0].to[0].networks[0]",
	} {
		s.eventOf(ctx, t, "old", field)
	}
	for _, field := range []string{"spec.ingress[0].from[0]", "spec.egress[0].to[0]"} {
		s.eventOf(ctx, t, "newer", field)
	}
	// Of the first what can be read counts. Of the others the Accepts match nothing, and the Denys all that they could: every port of TCP, and
	// everybody.
	s.reach(ctx, t, "d,e>a", "c>a/tcp8,udp,sctp,icmp", "a,b,c>e", "a,b,c>d/tcp,tcp8", "b>*/udp")
	s.deletePolicies(ctx, t)
}

// storedJSON is a manifest as the API server stores an object.
func storedJSON(t *testing.T, manifest string) []byte {
	t.Helper()
	object := unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		t.Fatal(err)
	}
	object.SetUID(types.UID("00000000-0000-4000-8000-" + fmt.Sprintf("%012d", rand.IntN(1e9))))
	object.SetCreationTimestamp(metav1.NewTime(time.Now()))
	stored, err := json.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// eventOf waits for an Event on a policy that names a field.
func (s *scene) eventOf(ctx context.Context, t *testing.T, name, field string) {
	t.Helper()
	eventually(ctx, t, 10*time.Second, func() error {
		list, err := s.Cluster().Admin().EventsV1().Events("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Regarding.Name == name && strings.HasPrefix(e.Note, field+": ") {
				return nil
			}
		}
		return fmt.Errorf("no Event on policy %s names %s", name, field)
	})
}

// longPolicy is one policy of ten thousand rules, of which the last counts.
func (s *scene) longPolicy(ctx context.Context, t *testing.T) {
	long := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "long"}}
	long.Spec.PodSelector.MatchLabels = map[string]string{"app": "a"}
	for i := range 9_999 {
		port := intstr.FromInt(20_000 + i/500)
		long.Spec.Ingress = append(long.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			From:  []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: fmt.Sprintf("198.18.%d.%d/32", i%500/250, i%250)}}},
			Ports: []networkingv1.NetworkPolicyPort{{Port: &port}},
		})
	}
	long.Spec.Ingress = append(long.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{
		{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "c"}}},
	}})
	s.apply(ctx, t, other)
	start := time.Now()
	if _, err := s.Cluster().Admin().NetworkingV1().NetworkPolicies("x").Create(ctx, long, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.reachWithin(ctx, t, time.Minute, nil, []string{"b,d,e>a", "a,b,c>e"})
	t.Logf("10,000 rules hold after %s", time.Since(start).Round(time.Millisecond))
	s.deletePolicies(ctx, t)
	s.reachWithin(ctx, t, time.Minute, nil, nil)
}

// overlappingBlocks are 500 that overlap at random, some with exceptions, of each family. Who is reached behind hundreds of addresses is what the
// evaluator says.
func (s *scene) overlappingBlocks(ctx context.Context, t *testing.T) {
	random := rand.New(rand.NewPCG(5, 500))
	within := []netip.Prefix{netip.MustParsePrefix("198.18.0.0/16"), netip.MustParsePrefix("2001:db8:18::/112")}
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "blocks"}}
	p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	p.Spec.PodSelector.MatchLabels = map[string]string{"app": "a"}
	for i := range 50 {
		var rule networkingv1.NetworkPolicyEgressRule
		for range 10 {
			rule.To = append(rule.To, networkingv1.NetworkPolicyPeer{IPBlock: randomBlock(random, within[i%2])})
		}
		p.Spec.Egress = append(p.Spec.Egress, rule)
	}
	s.behindOutside(ctx, t, within)
	created, err := s.Cluster().Admin().NetworkingV1().NetworkPolicies("x").Create(ctx, p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a := s.podOf("a")
	subject := policy.PodKey{Namespace: "x", Name: "a"}
	world := policy.World{
		Pods:     []policy.Pod{{PodKey: subject, Labels: map[string]string{"app": "a"}, Addresses: a.Addresses}},
		Policies: []*networkingv1.NetworkPolicy{created},
	}
	wanted := map[netip.Addr]bool{}
	for _, block := range within {
		for range 150 {
			to := addressIn(random, block)
			packet := policy.Packet{From: a.Address(to.Is4()), To: to, Protocol: policy.UDP, Port: lab.EchoPort}
			wanted[to], _ = world.Judge(subject, policy.Egress, packet, false)
		}
	}
	open := 0
	for _, allowed := range wanted {
		if allowed {
			open++
		}
	}
	t.Logf("%d of %d addresses are allowed", open, len(wanted))
	if open < 30 || open > len(wanted)-30 {
		t.Fatal("that tells little")
	}
	timeout := probeTimeout
	eventually(ctx, t, enforced, func() error {
		err := asWanted(ctx, a, wanted, timeout)
		timeout = min(2*timeout, longestProbe)
		return err
	})
	s.deletePolicies(ctx, t)
}

func asWanted(ctx context.Context, from *lab.Pod, wanted map[netip.Addr]bool, timeout time.Duration) error {
	var running sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for to, allowed := range wanted {
		running.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, pace.Scale(timeout))
			defer cancel()
			if err := from.Reach(ctx, to, "udp", 100); (err == nil) != allowed {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: allowed is %v, and the answer: %v", to, allowed, err)) //nolint:errorlint // it may be none
			}
		})
	}
	running.Wait()
	return errors.Join(errs[:min(len(errs), 20)]...)
}

// behindOutside has all addresses of some networks answered by who is outside.
func (s *scene) behindOutside(ctx context.Context, t *testing.T, networks []netip.Prefix) {
	t.Helper()
	out := s.outside()
	run(ctx, t, out, "", "sysctl", "-qw", "net.ipv6.ip_nonlocal_bind=1") // to answer by them
	for _, network := range networks {
		family := "-4"
		if network.Addr().Is6() {
			family = "-6"
		}
		run(ctx, t, out, "", "ip", family, "route", "replace", "local", network.String(), "dev", "lo")
		run(ctx, t, &s.Node("n1").Host, "", "ip", family, "route", "replace", network.String(), "via", out.Address(network.Addr().Is4()).String())
	}
}

func randomBlock(random *rand.Rand, within netip.Prefix) *networkingv1.IPBlock {
	bits := within.Addr().BitLen() - 2 - random.IntN(10)
	cidr := netip.PrefixFrom(addressIn(random, within), bits).Masked()
	block := &networkingv1.IPBlock{CIDR: cidr.String()}
	for range random.IntN(3) {
		hole := netip.PrefixFrom(addressIn(random, cidr), min(bits+1+random.IntN(4), within.Addr().BitLen())).Masked()
		if !slices.Contains(block.Except, hole.String()) {
			block.Except = append(block.Except, hole.String())
		}
	}
	return block
}

func addressIn(random *rand.Rand, p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= byte(random.IntN(2)) << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a
}
