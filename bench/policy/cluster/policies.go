package cluster

import (
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

const clusterPoliciesPerTier = 10

var tiers = []v1alpha2.Tier{v1alpha2.AdminTier, v1alpha2.BaselineTier}

// templates are the policies of a namespace, by its number.
var templates = []func(ns int) networkingv1.NetworkPolicySpec{
	// Nothing comes in or goes out, but for what others allow.
	func(int) networkingv1.NetworkPolicySpec {
		return networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress", "Egress"}}
	},
	// Whoever is in the namespace may talk.
	func(int) networkingv1.NetworkPolicySpec { return ingress(nil, nil, pods(nil)) },
	// Names are resolved.
	func(int) networkingv1.NetworkPolicySpec {
		return egress(nil, numbers(53), namespaces("kubernetes.io/metadata.name", namespace(0)))
	},
	// The outside, but not what is private.
	func(int) networkingv1.NetworkPolicySpec {
		return egress(nil, numbers(443), networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{
			CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"},
		}})
	},
	// From web to api, and from api to db.
	func(int) networkingv1.NetworkPolicySpec {
		return ingress(labels("tier", "api"), numbers(8000, 8001, 8002), pods(labels("tier", "web")))
	},
	func(int) networkingv1.NetworkPolicySpec {
		return ingress(labels("tier", "db"), numbers(5432), pods(labels("tier", "api")))
	},
	// One application of the namespace, to another one.
	func(ns int) networkingv1.NetworkPolicySpec {
		return ingress(labels("app", app(ns)), named("http"), pods(labels("app", app(ns+1))), pods(labels("app", app(ns+2))))
	},
	// A team's other namespaces, and their web tier.
	func(ns int) networkingv1.NetworkPolicySpec {
		return ingress(labels("app", app(ns)), nil, namespaces("team", team(ns)))
	},
	func(ns int) networkingv1.NetworkPolicySpec {
		peer := namespaces("team", team(ns))
		peer.PodSelector = labels("tier", "web")
		return egress(labels("app", app(ns+3)), named("http"), peer)
	},
	// Monitoring, from a namespace of its own.
	func(int) networkingv1.NetworkPolicySpec {
		return ingress(nil, named("metrics"), namespaces("kubernetes.io/metadata.name", namespace(1)))
	},
}

// NetworkPolicies are those of the i-th namespace.
func (c Cluster) NetworkPolicies(i int) (policies []*networkingv1.NetworkPolicy) {
	for j := range templates {
		policies = append(policies, c.NetworkPolicy(i, j))
	}
	return policies
}

// NetworkPolicy is one of a namespace's. Any number is one.
func (c Cluster) NetworkPolicy(ns, i int) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace(ns), Name: fmt.Sprintf("policy-%d", i)}, Spec: templates[i%len(templates)](ns),
	}
}

// clusterPolicies are guardrails, each for one product, and a baseline between the environments.
func clusterPolicies() (policies []*v1alpha2.ClusterNetworkPolicy) {
	for _, tier := range tiers {
		for i := range clusterPoliciesPerTier {
			p := &v1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", tier, i)}}
			p.Spec.Tier, p.Spec.Priority = tier, int32(i)
			p.Spec.Subject.Pods = &v1alpha2.NamespacedPod{PodSelector: *labels("app.kubernetes.io/part-of", fmt.Sprintf("product-%d", i))}
			p.Spec.Ingress = []v1alpha2.ClusterNetworkPolicyIngressRule{
				{Action: "Pass", From: []v1alpha2.ClusterNetworkPolicyIngressPeer{{Namespaces: labels("team", team(i))}}},
				{Action: "Deny", From: []v1alpha2.ClusterNetworkPolicyIngressPeer{{Namespaces: labels("env", "test")}}},
			}
			p.Spec.Egress = []v1alpha2.ClusterNetworkPolicyEgressRule{{
				Action: "Deny", To: []v1alpha2.ClusterNetworkPolicyEgressPeer{{Nodes: labels("zone", "0")}, {Networks: []v1alpha2.CIDR{"169.254.169.254/32"}}},
			}}
			policies = append(policies, p)
		}
	}
	return policies
}

func app(i int) string { return fmt.Sprintf("app-%d", i%10) }

func team(i int) string { return fmt.Sprintf("team-%d", i%100) }

func labels(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func pods(s *metav1.LabelSelector) networkingv1.NetworkPolicyPeer {
	if s == nil {
		s = &metav1.LabelSelector{}
	}
	return networkingv1.NetworkPolicyPeer{PodSelector: s}
}

func namespaces(key, value string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: labels(key, value)}
}

func numbers(all ...int32) (ports []networkingv1.NetworkPolicyPort) {
	for _, n := range all {
		ports = append(ports, networkingv1.NetworkPolicyPort{Port: &intstr.IntOrString{IntVal: n}})
	}
	return ports
}

func named(name string) []networkingv1.NetworkPolicyPort {
	return []networkingv1.NetworkPolicyPort{{Port: &intstr.IntOrString{Type: intstr.String, StrVal: name}}}
}

func ingress(subject *metav1.LabelSelector, ports []networkingv1.NetworkPolicyPort, from ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicySpec {
	s := networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{From: from, Ports: ports}}}
	if subject != nil {
		s.PodSelector = *subject
	}
	return s
}

func egress(subject *metav1.LabelSelector, ports []networkingv1.NetworkPolicyPort, to ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicySpec {
	s := networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{"Egress"}, Egress: []networkingv1.NetworkPolicyEgressRule{{To: to, Ports: ports}},
	}
	if subject != nil {
		s.PodSelector = *subject
	}
	return s
}
