package policy

import (
	"cmp"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// networkPolicyTier says whether NetworkPolicies isolate the subject in the direction, and if so, whether one of their rules allows the
// packet: no order among them matters but for the name of the rule, which is the first by the policies' names.
func (q question) networkPolicyTier() (isolated, allowed bool, by RuleID) {
	isolating := q.isolating()
	for _, p := range isolating {
		for i, r := range networkPolicyRules(p, q.direction) {
			if min(q.anyNetworkPolicyPeer(p.Namespace, r.peers), q.anyNetworkPolicyPort(r.ports)) == isSo {
				return true, true, RuleID{Tier: NetworkPolicyTier, Namespace: p.Namespace, Policy: p.Name, Rule: i}
			}
		}
	}
	by = RuleID{Tier: NetworkPolicyTier, Rule: -1}
	if len(isolating) == 1 {
		by.Namespace, by.Policy = isolating[0].Namespace, isolating[0].Name
	}
	return len(isolating) > 0, false, by
}

// isolating are the policies that select the subject in the direction, by name. One whose selector cannot be read selects every pod of
// its namespace.
func (q question) isolating() []*networkingv1.NetworkPolicy {
	var found []*networkingv1.NetworkPolicy
	for _, p := range q.world.Policies {
		if p.Namespace == q.subject.Namespace && affects(p, q.direction) && !Previewed(p) &&
			labelled(&p.Spec.PodSelector, q.subject.Labels) != isNot {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *networkingv1.NetworkPolicy) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// affects says whether a policy is about a direction: without policyTypes as the API server would default them.
func affects(p *networkingv1.NetworkPolicy, d Direction) bool {
	if len(p.Spec.PolicyTypes) == 0 {
		return d == Ingress || len(p.Spec.Egress) > 0
	}
	if d == Egress {
		return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
}

// networkPolicyRule is a rule of either direction.
type networkPolicyRule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func networkPolicyRules(p *networkingv1.NetworkPolicy, d Direction) []networkPolicyRule {
	var rules []networkPolicyRule
	if d == Egress {
		for _, r := range p.Spec.Egress {
			rules = append(rules, networkPolicyRule{r.To, r.Ports})
		}
		return rules
	}
	for _, r := range p.Spec.Ingress {
		rules = append(rules, networkPolicyRule{r.From, r.Ports})
	}
	return rules
}

// anyNetworkPolicyPeer says whether the other end is among the peers. No peers are all.
func (q question) anyNetworkPolicyPeer(namespace string, peers []networkingv1.NetworkPolicyPeer) answer {
	if len(peers) == 0 {
		return isSo
	}
	found := isNot
	for _, p := range peers {
		found = max(found, q.networkPolicyPeer(namespace, p))
	}
	return found
}

func (q question) networkPolicyPeer(namespace string, peer networkingv1.NetworkPolicyPeer) answer {
	selects := peer.PodSelector != nil || peer.NamespaceSelector != nil
	switch {
	case peer.IPBlock != nil && !selects:
		return q.ipBlock(*peer.IPBlock)
	case peer.IPBlock != nil || !selects:
		return mayBe
	}
	return q.anyPodAt(q.peer(), func(pod Pod) answer {
		there := answerOf(pod.Namespace == namespace)
		if peer.NamespaceSelector != nil {
			there = labelled(peer.NamespaceSelector, q.world.namespaceLabels(pod.Namespace))
		}
		if peer.PodSelector != nil {
			there = min(there, labelled(peer.PodSelector, pod.Labels))
		}
		return there
	})
}

// ipBlock says whether the address on the wire is in the block, whosever it is. A block with an exception that cannot be read might
// except anything.
func (q question) ipBlock(b networkingv1.IPBlock) answer {
	found := within(q.peer(), b.CIDR)
	for _, e := range b.Except {
		switch within(q.peer(), e) {
		case isSo:
			return isNot
		case mayBe:
			found = min(found, mayBe)
		case isNot:
		}
	}
	return found
}

// anyNetworkPolicyPort says whether the packet goes to one of the ports. No ports are all, and all protocols.
func (q question) anyNetworkPolicyPort(ports []networkingv1.NetworkPolicyPort) answer {
	if len(ports) == 0 {
		return isSo
	}
	found := isNot
	for _, p := range ports {
		found = max(found, q.networkPolicyPort(p))
	}
	return found
}

func (q question) networkPolicyPort(p networkingv1.NetworkPolicyPort) answer {
	protocol := "TCP"
	if p.Protocol != nil {
		protocol = string(*p.Protocol)
	}
	switch named, known := protocolsByName[protocol]; {
	case !known:
		return mayBe
	case named != q.packet.Protocol:
		return isNot
	case p.Port == nil && p.EndPort == nil:
		return isSo
	case p.Port == nil || p.Port.Type == intstr.String && p.EndPort != nil:
		return mayBe
	case p.Port.Type == intstr.String:
		return q.namedPort(p.Port.StrVal)
	case p.EndPort == nil:
		return q.between(p.Port.IntVal, p.Port.IntVal)
	}
	return q.between(p.Port.IntVal, *p.EndPort)
}

// protocolsByName are those that a NetworkPolicy can name.
var protocolsByName = map[string]Protocol{"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
