package policy

import (
	"cmp"
	"slices"

	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// clusterTier walks a tier of ClusterNetworkPolicies to the first rule that decides; the verdict is zero if none does.
//
// A rule that may match, because part of it cannot be read, does what is safe whatever that part means: an Accept is passed over, and
// what a Pass would take out of the tier is denied, as the specification asks of a Deny and a Pass alike.
func (q question) clusterTier(t Tier) (Verdict, RuleID) {
	for _, p := range q.world.clusterPolicies(t) {
		subject := q.clusterSubject(p.Spec.Subject)
		if clusterTierOf(p) == NoTier {
			subject = min(subject, mayBe)
		}
		for i, r := range clusterRules(p, q.direction) {
			match := min(subject, q.anyClusterPeer(r.peers), q.anyClusterProtocol(r.protocols))
			if match == isNot {
				continue
			}
			by := RuleID{Tier: t, Policy: p.Name, Rule: i, Name: r.name}
			switch {
			case match == isSo && r.action == v1alpha2.ClusterNetworkPolicyRuleActionAccept:
				return Accept, by
			case match == isSo && r.action == v1alpha2.ClusterNetworkPolicyRuleActionPass:
				return Pass, by
			case r.action != v1alpha2.ClusterNetworkPolicyRuleActionAccept:
				return Deny, by
			}
		}
	}
	return 0, undecided
}

// clusterPolicies are those of a tier in the order in which they are asked. One of a tier that nobody knows is asked with the first.
func (w World) clusterPolicies(t Tier) []*v1alpha2.ClusterNetworkPolicy {
	var found []*v1alpha2.ClusterNetworkPolicy
	for _, p := range w.ClusterPolicies {
		of := clusterTierOf(p)
		if !Previewed(p) && (of == t || of == NoTier && t == AdminTier) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *v1alpha2.ClusterNetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Spec.Priority, b.Spec.Priority), cmp.Compare(a.Name, b.Name))
	})
	return found
}

// clusterTierOf is NoTier where the policy's is not known.
func clusterTierOf(p *v1alpha2.ClusterNetworkPolicy) Tier {
	switch p.Spec.Tier {
	case v1alpha2.AdminTier:
		return AdminTier
	case v1alpha2.BaselineTier:
		return BaselineTier
	}
	return NoTier
}

// clusterRule is a rule of either direction.
type clusterRule struct {
	name      string
	action    v1alpha2.ClusterNetworkPolicyRuleAction
	peers     []v1alpha2.ClusterNetworkPolicyEgressPeer
	protocols []v1alpha2.ClusterNetworkPolicyProtocol
}

func clusterRules(p *v1alpha2.ClusterNetworkPolicy, d Direction) []clusterRule {
	var rules []clusterRule
	if d == Egress {
		for _, r := range p.Spec.Egress {
			rules = append(rules, clusterRule{r.Name, r.Action, r.To, r.Protocols})
		}
		return rules
	}
	for _, r := range p.Spec.Ingress {
		var peers []v1alpha2.ClusterNetworkPolicyEgressPeer
		for _, from := range r.From {
			peers = append(peers, v1alpha2.ClusterNetworkPolicyEgressPeer{Namespaces: from.Namespaces, Pods: from.Pods})
		}
		rules = append(rules, clusterRule{r.Name, r.Action, peers, r.Protocols})
	}
	return rules
}

func (q question) clusterSubject(s v1alpha2.ClusterNetworkPolicySubject) answer {
	switch {
	case (s.Namespaces == nil) == (s.Pods == nil):
		return mayBe
	case s.Pods != nil:
		return q.namespacedPod(*s.Pods, q.subject)
	}
	return labelled(s.Namespaces, q.world.namespaceLabels(q.subject.Namespace))
}

// namespacedPod says whether a pod is selected by its namespace and itself. What selects by a part that cannot be read may select any.
func (q question) namespacedPod(s v1alpha2.NamespacedPod, pod Pod) answer {
	if !readable(&s.NamespaceSelector) || !readable(&s.PodSelector) {
		return mayBe
	}
	return min(labelled(&s.NamespaceSelector, q.world.namespaceLabels(pod.Namespace)), labelled(&s.PodSelector, pod.Labels))
}

// anyClusterPeer says whether the other end is among the peers. There is always at least one that is known to the version of the API
// which the policy was written for.
func (q question) anyClusterPeer(peers []v1alpha2.ClusterNetworkPolicyEgressPeer) answer {
	if len(peers) == 0 {
		return mayBe
	}
	found := isNot
	for _, p := range peers {
		found = max(found, q.clusterPeer(p))
	}
	return found
}

func (q question) clusterPeer(p v1alpha2.ClusterNetworkPolicyEgressPeer) answer {
	fields := 0
	for _, set := range []bool{p.Namespaces != nil, p.Pods != nil, p.Nodes != nil, len(p.Networks) > 0, len(p.DomainNames) > 0} {
		if set {
			fields++
		}
	}
	switch {
	case fields != 1 || len(p.DomainNames) > 0:
		return mayBe
	case p.Nodes != nil:
		return q.clusterNodes(p)
	case len(p.Networks) > 0:
		return q.clusterNetworks(p.Networks)
	case p.Pods != nil && (!readable(&p.Pods.NamespaceSelector) || !readable(&p.Pods.PodSelector)):
		return mayBe
	case p.Namespaces != nil && !readable(p.Namespaces):
		return mayBe
	}
	return q.anyPodAt(q.peer(), func(pod Pod) answer {
		if p.Pods != nil {
			return q.namespacedPod(*p.Pods, pod)
		}
		return labelled(p.Namespaces, q.world.namespaceLabels(pod.Namespace))
	})
}

func (q question) clusterNodes(p v1alpha2.ClusterNetworkPolicyEgressPeer) answer {
	if !readable(p.Nodes) {
		return mayBe
	}
	found := isNot
	for _, n := range q.world.Nodes {
		if slices.Contains(n.Addresses, q.peer()) {
			found = max(found, labelled(p.Nodes, n.Labels))
		}
	}
	return found
}

func (q question) clusterNetworks(cidrs []v1alpha2.CIDR) answer {
	found := isNot
	for _, c := range cidrs {
		found = max(found, within(q.peer(), string(c)))
	}
	return found
}
