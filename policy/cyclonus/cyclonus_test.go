package cyclonus

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/policytest"
)

// TestCyclonus asks both of every pair of addresses, protocol and port of random worlds.
func TestCyclonus(t *testing.T) {
	policytest.Check(t, func(t *rapid.T) {
		compare(t, agreed(policytest.World(policytest.Options{Pods: 6, Policies: 5}).Draw(t, "world")))
	})
}

func compare(t *rapid.T, w policy.World) {
	theirs := matcher.BuildNetworkPolicies(false, w.Policies)
	for _, p := range policytest.Packets(w) {
		protocol, known := map[policy.Protocol]corev1.Protocol{
			policy.TCP: corev1.ProtocolTCP, policy.UDP: corev1.ProtocolUDP, policy.SCTP: corev1.ProtocolSCTP,
		}[p.Protocol]
		// Cyclonus knows the protocols with ports only, and not that a pod reaches itself.
		if !known || sameEnds(w, p) {
			continue
		}
		from, _ := podAt(w, p.From)
		to, _ := podAt(w, p.To)
		traffic := &matcher.Traffic{
			Source: peer(w, p.From), Destination: peer(w, p.To), Protocol: protocol, ResolvedPort: int(p.Port), ResolvedPortName: portName(to, p),
		}
		for d, subject := range map[policy.Direction]policy.Pod{policy.Egress: from, policy.Ingress: to} {
			if subject.Name == "" {
				continue
			}
			ours, by := w.Judge(subject.PodKey, d, p, false)
			if allowed := theirs.IsIngressOrEgressAllowed(traffic, d == policy.Ingress).IsAllowed(); allowed != ours {
				t.Fatalf("%s of %s, %+v: cyclonus says %v, we say %v by %+v\n%s", d, subject.PodKey, p, allowed, ours, by, policytest.Describe(w))
			}
		}
	}
}

// agreed is a world in which cyclonus is known to read the specification as it is.
func agreed(w policy.World) policy.World {
	for _, p := range w.Policies {
		// Cyclonus reads policies as they come out of the API server, defaulted.
		if len(p.Spec.PolicyTypes) == 0 {
			p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
			if len(p.Spec.Egress) > 0 {
				p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
			}
		}
		selectors := []*metav1.LabelSelector{&p.Spec.PodSelector}
		for _, r := range p.Spec.Ingress {
			selectors = append(selectors, selectorsOf(r.From)...)
		}
		for _, r := range p.Spec.Egress {
			selectors = append(selectors, selectorsOf(r.To)...)
		}
		for _, s := range selectors {
			requireKeys(s)
		}
	}
	// A pod of the host's network is an outside address to both.
	w.Pods = slices.DeleteFunc(slices.Clone(w.Pods), func(p policy.Pod) bool { return p.HostNetwork })
	return w
}

// requireKeys adds that a key exists to each NotIn of it. By apimachinery, which says what selectors mean, NotIn matches also what does
// not have the key; by cyclonus it does not.
func requireKeys(s *metav1.LabelSelector) {
	for _, r := range s.MatchExpressions {
		if r.Operator == metav1.LabelSelectorOpNotIn {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: r.Key, Operator: metav1.LabelSelectorOpExists})
		}
	}
}

func selectorsOf(peers []networkingv1.NetworkPolicyPeer) []*metav1.LabelSelector {
	var found []*metav1.LabelSelector
	for _, p := range peers {
		for _, s := range []*metav1.LabelSelector{p.PodSelector, p.NamespaceSelector} {
			if s != nil {
				found = append(found, s)
			}
		}
	}
	return found
}

func podAt(w policy.World, a netip.Addr) (policy.Pod, bool) {
	for _, p := range w.Pods {
		if slices.Contains(p.Addresses, a) {
			return p, true
		}
	}
	return policy.Pod{}, false
}

func sameEnds(w policy.World, p policy.Packet) bool {
	from, known := podAt(w, p.From)
	to, _ := podAt(w, p.To)
	return known && from.PodKey == to.PodKey
}

// portName is the one that the destination gives to the packet's port.
func portName(to policy.Pod, p policy.Packet) string {
	for _, port := range to.Ports {
		if port.Protocol == p.Protocol && port.Port == p.Port {
			return port.Name
		}
	}
	return ""
}

func peer(w policy.World, a netip.Addr) *matcher.TrafficPeer {
	found := &matcher.TrafficPeer{IP: a.String()}
	if pod, known := podAt(w, a); known {
		labels := map[string]string{corev1.LabelMetadataName: pod.Namespace}
		for _, n := range w.Namespaces {
			if n.Name == pod.Namespace {
				labels = n.Labels
			}
		}
		found.Internal = &matcher.InternalPeer{PodLabels: pod.Labels, Namespace: pod.Namespace, NamespaceLabels: labels}
	}
	return found
}
