package policytest

import (
	"fmt"

	"pgregory.net/rapid"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

func (d drawer) clusterPolicy() *v1alpha2.ClusterNetworkPolicy {
	p := &v1alpha2.ClusterNetworkPolicy{}
	p.Annotations = d.stage()
	p.Spec.Tier = rapid.SampledFrom([]v1alpha2.Tier{v1alpha2.AdminTier, v1alpha2.BaselineTier}).Draw(d.T, "tier")
	if d.unsound("tier") {
		p.Spec.Tier = "Later"
	}
	p.Spec.Priority = rapid.Int32Range(0, 3).Draw(d.T, "priority")
	switch rapid.IntRange(0, 1).Draw(d.T, "kind of subject") {
	case 0:
		p.Spec.Subject.Namespaces = d.selector()
	case 1:
		p.Spec.Subject.Pods = d.namespacedPod()
	}
	if d.unsound("subject") {
		p.Spec.Subject = v1alpha2.ClusterNetworkPolicySubject{}
	}
	p.Spec.Ingress = several(d, 0, 3, "ingress rules", drawer.clusterIngress)
	p.Spec.Egress = several(d, 0, 3, "egress rules", drawer.clusterEgress)
	for i := range p.Spec.Ingress {
		p.Spec.Ingress[i].Name = fmt.Sprintf("in%d", i)
	}
	return p
}

func (d drawer) clusterIngress() v1alpha2.ClusterNetworkPolicyIngressRule {
	r := v1alpha2.ClusterNetworkPolicyIngressRule{Action: d.action(), Protocols: d.clusterProtocols()}
	for _, peer := range d.clusterPeers(false) {
		r.From = append(r.From, v1alpha2.ClusterNetworkPolicyIngressPeer{Namespaces: peer.Namespaces, Pods: peer.Pods})
	}
	return r
}

func (d drawer) clusterEgress() v1alpha2.ClusterNetworkPolicyEgressRule {
	return v1alpha2.ClusterNetworkPolicyEgressRule{Action: d.action(), Protocols: d.clusterProtocols(), To: d.clusterPeers(true)}
}

// clusterPeers are at least one where the API server asks for it.
func (d drawer) clusterPeers(egress bool) []v1alpha2.ClusterNetworkPolicyEgressPeer {
	if d.unsound("peers") {
		return nil
	}
	return several(d, 1, 3, "peers", func(d drawer) v1alpha2.ClusterNetworkPolicyEgressPeer { return d.clusterPeer(egress) })
}

func (d drawer) action() v1alpha2.ClusterNetworkPolicyRuleAction {
	if d.unsound("action") {
		return "Log"
	}
	return rapid.SampledFrom([]v1alpha2.ClusterNetworkPolicyRuleAction{
		v1alpha2.ClusterNetworkPolicyRuleActionAccept, v1alpha2.ClusterNetworkPolicyRuleActionDeny, v1alpha2.ClusterNetworkPolicyRuleActionPass,
	}).Draw(d.T, "action")
}

func (d drawer) namespacedPod() *v1alpha2.NamespacedPod {
	return &v1alpha2.NamespacedPod{NamespaceSelector: *d.selector(), PodSelector: *d.selector()}
}

func (d drawer) clusterPeer(egress bool) v1alpha2.ClusterNetworkPolicyEgressPeer {
	var p v1alpha2.ClusterNetworkPolicyEgressPeer
	if d.unsound("peer") {
		if egress && d.oneIn(2, "domain names") {
			p.DomainNames = []v1alpha2.DomainName{"example.com"}
		}
		return p
	}
	kinds := 1
	if egress {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds).Draw(d.T, "kind of peer") {
	case 0:
		p.Namespaces = d.selector()
	case 1:
		p.Pods = d.namespacedPod()
	case 2:
		p.Nodes = d.selector()
	default:
		for range rapid.IntRange(1, 3).Draw(d.T, "networks") {
			p.Networks = append(p.Networks, v1alpha2.CIDR(d.cidr()))
		}
	}
	return p
}

func (d drawer) clusterProtocols() []v1alpha2.ClusterNetworkPolicyProtocol {
	return several(d, 0, 3, "protocols", drawer.clusterProtocol)
}

func (d drawer) clusterProtocol() (p v1alpha2.ClusterNetworkPolicyProtocol) {
	kind := rapid.IntRange(0, 3).Draw(d.T, "kind of protocol")
	if d.unsound("protocol") {
		kind = 4
	}
	switch kind {
	case 0:
		p.TCP = &v1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: d.clusterPort()}
	case 1:
		p.UDP = &v1alpha2.ClusterNetworkPolicyProtocolUDP{DestinationPort: d.clusterPort()}
	case 2:
		p.SCTP = &v1alpha2.ClusterNetworkPolicyProtocolSCTP{DestinationPort: d.clusterPort()}
	case 3:
		p.DestinationNamedPort = rapid.SampledFrom(portNames).Draw(d.T, "port name")
	}
	return p
}

func (d drawer) clusterPort() *v1alpha2.Port {
	if d.unsound("port") {
		return rapid.SampledFrom([]*v1alpha2.Port{nil, {}, {Number: 65536}, {Range: &v1alpha2.PortRange{Start: 9, End: 8}}}).Draw(d.T, "port")
	}
	first, last := rapid.SampledFrom(ports).Draw(d.T, "first port"), rapid.SampledFrom(ports).Draw(d.T, "last port")
	if first < last {
		return &v1alpha2.Port{Range: &v1alpha2.PortRange{Start: int32(first), End: int32(last)}}
	}
	return &v1alpha2.Port{Number: int32(first)}
}
