package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// networkPolicyWords are a policy's rules of one direction.
func networkPolicyWords(p *networkingv1.NetworkPolicy, d Direction) (out []string) {
	for _, r := range networkPolicyRules(p, d) {
		var peers, ports []string
		for _, peer := range r.peers {
			peers = append(peers, networkPolicyPeerWords(peer))
		}
		for _, port := range r.ports {
			ports = append(ports, networkPolicyPortWords(port))
		}
		out = append(out, "allow "+way(d)+orNone(peers, "anywhere")+"; "+orNone(ports, "anything"))
	}
	return out
}

func networkPolicyPeerWords(p networkingv1.NetworkPolicyPeer) string {
	selects := p.PodSelector != nil || p.NamespaceSelector != nil
	switch {
	case (p.IPBlock != nil) == selects:
		return "a peer that cannot be read"
	case p.IPBlock != nil:
		words := p.IPBlock.CIDR
		if len(p.IPBlock.Except) > 0 {
			words += " except " + strings.Join(p.IPBlock.Except, ", ")
		}
		return words
	case p.NamespaceSelector == nil:
		return selected("pods", p.PodSelector) + " of its namespace"
	case p.PodSelector == nil:
		return "all pods of " + selected("namespaces", p.NamespaceSelector)
	}
	return selected("pods", p.PodSelector) + " of " + selected("namespaces", p.NamespaceSelector)
}

func networkPolicyPortWords(p networkingv1.NetworkPolicyPort) string {
	protocol := "tcp"
	if p.Protocol != nil {
		protocol = strings.ToLower(string(*p.Protocol))
	}
	switch {
	case p.Port == nil:
		return protocol
	case p.EndPort != nil:
		return fmt.Sprintf("%s %s-%d", protocol, p.Port, *p.EndPort)
	}
	return protocol + " " + p.Port.String()
}

// clusterPolicyWords are a policy's rules of one direction.
func clusterPolicyWords(p *v1alpha2.ClusterNetworkPolicy, d Direction) (out []string) {
	for _, r := range clusterRules(p, d) {
		var peers, ports []string
		for _, peer := range r.peers {
			peers = append(peers, clusterPeerWords(peer))
		}
		for _, protocol := range r.protocols {
			ports = append(ports, clusterProtocolWords(protocol))
		}
		name := ""
		if r.name != "" {
			name = strconv.Quote(r.name) + " "
		}
		out = append(out, name+strings.ToLower(string(r.action))+" "+way(d)+orNone(peers, "no peer that can be read")+"; "+orNone(ports, "anything"))
	}
	return out
}

func clusterPeerWords(p v1alpha2.ClusterNetworkPolicyEgressPeer) string {
	switch {
	case p.Namespaces != nil:
		return "all pods of " + selected("namespaces", p.Namespaces)
	case p.Pods != nil:
		return selected("pods", &p.Pods.PodSelector) + " of " + selected("namespaces", &p.Pods.NamespaceSelector)
	case p.Nodes != nil:
		return selected("nodes", p.Nodes)
	case len(p.Networks) > 0:
		words := make([]string, len(p.Networks))
		for i, n := range p.Networks {
			words[i] = string(n)
		}
		return strings.Join(words, ", ")
	case len(p.DomainNames) > 0:
		return "domain names, which are not honoured"
	}
	return "a peer that cannot be read"
}

func clusterProtocolWords(p v1alpha2.ClusterNetworkPolicyProtocol) string {
	port := func(protocol Protocol, p *v1alpha2.Port) string {
		switch {
		case p == nil:
			return protocol.String()
		case p.Range != nil:
			return fmt.Sprintf("%s %d-%d", protocol, p.Range.Start, p.Range.End)
		}
		return fmt.Sprintf("%s %d", protocol, p.Number)
	}
	switch {
	case p.TCP != nil:
		return port(TCP, p.TCP.DestinationPort)
	case p.UDP != nil:
		return port(UDP, p.UDP.DestinationPort)
	case p.SCTP != nil:
		return port(SCTP, p.SCTP.DestinationPort)
	case p.DestinationNamedPort != "":
		return "port " + p.DestinationNamedPort
	}
	return "a protocol that cannot be read"
}

func selected(what string, s *metav1.LabelSelector) string {
	switch words := metav1.FormatLabelSelector(s); words {
	case "<none>":
		return "all " + what
	case "<error>":
		return what + " that cannot be read"
	default:
		return what + " with " + words
	}
}

func way(d Direction) string {
	if d == Egress {
		return "to "
	}
	return "from "
}

func texts(addresses []netip.Addr) []string {
	out := make([]string, len(addresses))
	for i, a := range addresses {
		out[i] = a.String()
	}
	return out
}

func orNone(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}
