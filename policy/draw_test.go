package policy_test

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"

	corev1 "k8s.io/api/core/v1"

	"github.com/warren-mesh/warren/policy"
)

// What is drawn comes from few names, labels and addresses, so that much of it meets.

func drawNamespace(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace")
}

func drawPodKey(t *rapid.T) policy.PodKey {
	return policy.PodKey{Namespace: drawNamespace(t), Name: rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "pod")}
}

func drawLabels(t *rapid.T) map[string]string {
	labels := map[string]string{}
	for _, key := range []string{"app", "tier", "kubernetes.io/metadata.name"} {
		if value := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, key); value != "" {
			labels[key] = value
		}
	}
	return labels
}

func drawAddresses(t *rapid.T) []netip.Addr {
	drawn := rapid.SliceOfN(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2"}), 0, 2).Draw(t, "addresses")
	var addresses []netip.Addr
	for _, a := range drawn {
		addresses = append(addresses, netip.MustParseAddr(a))
	}
	return addresses
}

func drawPod(t *rapid.T) policy.Pod {
	p := policy.Pod{
		PodKey: drawPodKey(t), Labels: drawLabels(t), Addresses: drawAddresses(t),
		HostNetwork: rapid.IntRange(0, 7).Draw(t, "host's") == 0, Here: rapid.Bool().Draw(t, "here"),
	}
	for range rapid.IntRange(0, 2).Draw(t, "ports") {
		p.Ports = append(p.Ports, policy.NamedPort{
			Name: rapid.SampledFrom([]string{"http", "dns"}).Draw(t, "port"), Protocol: rapid.SampledFrom([]policy.Protocol{policy.TCP, policy.UDP}).Draw(t, "protocol"),
			Port: rapid.SampledFrom([]uint16{80, 53}).Draw(t, "number"),
		})
	}
	return p
}

// drawSelector is seldom one that cannot be parsed.
func drawSelector(t *rapid.T) metav1.LabelSelector {
	key := rapid.SampledFrom([]string{"app", "tier", "kubernetes.io/metadata.name"}).Draw(t, "key")
	value := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value")
	requirement := func(operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
	}
	switch rapid.IntRange(0, 9).Draw(t, "selector") {
	case 0, 1:
		return metav1.LabelSelector{}
	case 2:
		return requirement(metav1.LabelSelectorOpIn, "a", "b")
	case 3:
		return requirement(metav1.LabelSelectorOpNotIn, value)
	case 4:
		return requirement(metav1.LabelSelectorOpExists)
	case 5:
		return requirement(metav1.LabelSelectorOpDoesNotExist)
	case 6:
		if rapid.IntRange(0, 3).Draw(t, "broken") == 0 {
			return requirement("Like", value)
		}
	}
	return metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func drawSelectorOrNone(t *rapid.T) *metav1.LabelSelector {
	if rapid.Bool().Draw(t, "no selector") {
		return nil
	}
	s := drawSelector(t)
	return &s
}

func drawPolicy(t *rapid.T) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: drawNamespace(t), Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "policy")}}
	p.Spec.PodSelector = drawSelector(t)
	p.Spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{
		nil, {"Ingress"}, {"Egress"}, {"Ingress", "Egress"}, {"Other"},
	}).Draw(t, "types")
	for range rapid.IntRange(0, 2).Draw(t, "rules") {
		peers, ports := rapid.SliceOfN(rapid.Custom(drawPeer), 0, 2).Draw(t, "peers"), rapid.SliceOfN(rapid.Custom(drawPort), 0, 2).Draw(t, "ports")
		if rapid.Bool().Draw(t, "egress") {
			p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: peers, Ports: ports})
		} else {
			p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: peers, Ports: ports})
		}
	}
	return p
}

func drawPeer(t *rapid.T) networkingv1.NetworkPolicyPeer {
	if rapid.IntRange(0, 3).Draw(t, "block") == 0 {
		b := networkingv1.IPBlock{CIDR: drawCIDR(t)}
		for range rapid.IntRange(0, 2).Draw(t, "exceptions") {
			b.Except = append(b.Except, drawCIDR(t))
		}
		return networkingv1.NetworkPolicyPeer{IPBlock: &b}
	}
	return networkingv1.NetworkPolicyPeer{PodSelector: drawSelectorOrNone(t), NamespaceSelector: drawSelectorOrNone(t)}
}

func drawCIDR(t *rapid.T) string {
	return rapid.SampledFrom([]string{"0.0.0.0/0", "::/0", "10.0.0.0/30", "10.0.0.2/31", "10.0.0.1/32", "fd00::/64", "fd00::2/128", "10.0.0.0/33"}).Draw(t, "CIDR")
}

func drawPort(t *rapid.T) networkingv1.NetworkPolicyPort {
	p := networkingv1.NetworkPolicyPort{}
	if protocol := corev1.Protocol(rapid.SampledFrom([]string{"", "TCP", "UDP", "SCTP", "ICMP"}).Draw(t, "protocol")); protocol != "" {
		p.Protocol = &protocol
	}
	switch rapid.IntRange(0, 3).Draw(t, "port") {
	case 0:
		p.Port = &intstr.IntOrString{Type: intstr.String, StrVal: rapid.SampledFrom([]string{"http", "dns", "none"}).Draw(t, "name")}
	case 1, 2:
		p.Port = &intstr.IntOrString{IntVal: rapid.SampledFrom([]int32{53, 80}).Draw(t, "number")}
		if end := rapid.SampledFrom([]int32{0, 60, 90}).Draw(t, "end"); end != 0 {
			p.EndPort = &end
		}
	}
	return p
}

func drawClusterPolicy(t *rapid.T) *v1alpha2.ClusterNetworkPolicy {
	p := &v1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: rapid.SampledFrom([]string{"u", "v", "w"}).Draw(t, "policy")}}
	p.Spec.Tier = rapid.SampledFrom([]v1alpha2.Tier{"Admin", "Admin", "Baseline", "Baseline", "Other"}).Draw(t, "tier")
	p.Spec.Priority = rapid.Int32Range(0, 1).Draw(t, "priority")
	if s := drawSelectorOrNone(t); s != nil {
		p.Spec.Subject.Namespaces = s
	} else {
		p.Spec.Subject.Pods = &v1alpha2.NamespacedPod{NamespaceSelector: drawSelector(t), PodSelector: drawSelector(t)}
	}
	for range rapid.IntRange(0, 2).Draw(t, "rules") {
		action := rapid.SampledFrom([]v1alpha2.ClusterNetworkPolicyRuleAction{"Accept", "Deny", "Pass", "Pass", "Log"}).Draw(t, "action")
		peers := rapid.SliceOfN(rapid.Custom(drawClusterPeer), 0, 2).Draw(t, "peers")
		protocols := rapid.SliceOfN(rapid.Custom(drawClusterProtocol), 0, 2).Draw(t, "protocols")
		if rapid.Bool().Draw(t, "egress") {
			p.Spec.Egress = append(p.Spec.Egress, v1alpha2.ClusterNetworkPolicyEgressRule{Action: action, To: peers, Protocols: protocols})
			continue
		}
		var from []v1alpha2.ClusterNetworkPolicyIngressPeer
		for _, peer := range peers {
			from = append(from, v1alpha2.ClusterNetworkPolicyIngressPeer{Namespaces: peer.Namespaces, Pods: peer.Pods})
		}
		p.Spec.Ingress = append(p.Spec.Ingress, v1alpha2.ClusterNetworkPolicyIngressRule{Action: action, From: from, Protocols: protocols})
	}
	return p
}

func drawClusterPeer(t *rapid.T) (p v1alpha2.ClusterNetworkPolicyEgressPeer) {
	s := drawSelector(t)
	switch rapid.IntRange(0, 5).Draw(t, "kind of peer") {
	case 0, 1:
		p.Namespaces = &s
	case 2:
		p.Pods = &v1alpha2.NamespacedPod{NamespaceSelector: s, PodSelector: drawSelector(t)}
	case 3:
		p.Nodes = &s
	case 4:
		p.Networks = []v1alpha2.CIDR{v1alpha2.CIDR(drawCIDR(t)), v1alpha2.CIDR(drawCIDR(t))}
	case 5:
		p.DomainNames = []v1alpha2.DomainName{"example.com"}
	}
	return p
}

func drawClusterProtocol(t *rapid.T) (p v1alpha2.ClusterNetworkPolicyProtocol) {
	port := &v1alpha2.Port{Number: rapid.SampledFrom([]int32{0, 53, 80}).Draw(t, "number")}
	if rapid.IntRange(0, 2).Draw(t, "range") == 0 {
		port = &v1alpha2.Port{Range: &v1alpha2.PortRange{Start: 53, End: rapid.SampledFrom([]int32{20, 80, 90}).Draw(t, "end")}}
	}
	switch rapid.IntRange(0, 3).Draw(t, "kind of protocol") {
	case 0:
		p.TCP = &v1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: port}
	case 1:
		p.UDP = &v1alpha2.ClusterNetworkPolicyProtocolUDP{DestinationPort: port}
	case 2:
		p.SCTP = &v1alpha2.ClusterNetworkPolicyProtocolSCTP{DestinationPort: port}
	case 3:
		p.DestinationNamedPort = rapid.SampledFrom([]string{"", "http", "dns"}).Draw(t, "name")
	}
	return p
}
