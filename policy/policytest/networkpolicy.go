package policytest

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

func (d drawer) networkPolicy() *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{}
	p.Namespace, p.Annotations = rapid.SampledFrom(namespaces).Draw(d.T, "namespace"), d.stage()
	p.Spec.PodSelector = *d.selector()
	p.Spec.Ingress = several(d, 0, 3, "ingress rules", func(d drawer) networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{From: d.peers(), Ports: d.ports()}
	})
	p.Spec.Egress = several(d, 0, 3, "egress rules", func(d drawer) networkingv1.NetworkPolicyEgressRule {
		return networkingv1.NetworkPolicyEgressRule{To: d.peers(), Ports: d.ports()}
	})
	p.Spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{
		nil, {networkingv1.PolicyTypeIngress}, {networkingv1.PolicyTypeEgress}, {networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
	}).Draw(d.T, "types")
	return p
}

func (d drawer) peers() []networkingv1.NetworkPolicyPeer {
	return several(d, 0, 2, "peers", drawer.peer)
}

func (d drawer) peer() (p networkingv1.NetworkPolicyPeer) {
	if d.unsound("peer") {
		return rapid.SampledFrom([]networkingv1.NetworkPolicyPeer{
			{}, {IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}, PodSelector: d.selector()},
		}).Draw(d.T, "peer")
	}
	kind := rapid.IntRange(0, 3).Draw(d.T, "kind of peer")
	if kind == 0 {
		cidr := d.cidr()
		p.IPBlock = &networkingv1.IPBlock{CIDR: cidr, Except: d.exceptions(cidr)}
	}
	if kind == 1 || kind == 3 {
		p.PodSelector = d.selector()
	}
	if kind >= 2 {
		p.NamespaceSelector = d.selector()
	}
	return p
}

func (d drawer) ports() []networkingv1.NetworkPolicyPort {
	return several(d, 0, 3, "ports", drawer.port)
}

func (d drawer) port() networkingv1.NetworkPolicyPort {
	var p networkingv1.NetworkPolicyPort
	if d.oneIn(2, "protocol") {
		protocol := rapid.SampledFrom([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}).Draw(d.T, "protocol")
		p.Protocol = &protocol
	}
	first := rapid.SampledFrom(ports).Draw(d.T, "first port")
	switch rapid.IntRange(0, 5).Draw(d.T, "kind of port") {
	case 0:
	case 1, 4, 5:
		name := intstr.FromString(rapid.SampledFrom(portNames).Draw(d.T, "port name"))
		p.Port = &name
	case 2:
		number := intstr.FromInt32(int32(first))
		p.Port = &number
	case 3:
		number, last := intstr.FromInt32(int32(first)), int32(rapid.SampledFrom(ports).Draw(d.T, "last port"))
		last = max(last, int32(first))
		p.Port, p.EndPort = &number, &last
	}
	if d.unsound("port") {
		return d.unsoundPort(p)
	}
	return p
}

func (d drawer) unsoundPort(p networkingv1.NetworkPolicyPort) networkingv1.NetworkPolicyPort {
	switch rapid.IntRange(0, 3).Draw(d.T, "unsound part") {
	case 0:
		protocol := corev1.Protocol("ICMP")
		p.Protocol = &protocol
	case 1:
		number := intstr.FromInt32(rapid.SampledFrom([]int32{-1, 0, 65536}).Draw(d.T, "number"))
		p.Port = &number
	case 2:
		last := rapid.SampledFrom([]int32{0, 52, 65536}).Draw(d.T, "last")
		p.EndPort = &last
	case 3:
		last := int32(80)
		p.Port, p.EndPort = nil, &last
	}
	return p
}
