package policy

import (
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// subjectOf selects the pods of a NetworkPolicy.
func (c *compiler) subjectOf(p *networkingv1.NetworkPolicy) selection {
	pods, err := parseSelector(&p.Spec.PodSelector)
	if err != nil {
		c.problem("spec.podSelector", fmt.Sprintf("%v: want a valid selector; the policy isolates every pod of its namespace", err))
		pods = labels.Everything()
	}
	return selection{namespace: p.Namespace, labels: pods}
}

func (c *compiler) networkPolicy(p *networkingv1.NetworkPolicy) {
	c.isolates[side(Ingress)] = len(p.Spec.PolicyTypes) == 0 || slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
	c.isolates[side(Egress)] = len(p.Spec.PolicyTypes) == 0 && len(p.Spec.Egress) > 0 ||
		slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	for i, t := range p.Spec.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			c.problem(at("spec.policyTypes", i), fmt.Sprintf("%q: want Ingress or Egress; it is passed over", t))
		}
	}
	id := RuleID{Tier: NetworkPolicyTier, Namespace: p.Namespace, Policy: p.Name}
	if c.isolates[side(Ingress)] {
		for i, r := range p.Spec.Ingress {
			id.Rule = i
			field := at("spec.ingress", i)
			c.add(clause{Ingress, c.peers(p, field+".from", r.From), c.networkPorts(field+".ports", r.Ports), Accept, id})
		}
	}
	if c.isolates[side(Egress)] {
		for i, r := range p.Spec.Egress {
			id.Rule = i
			field := at("spec.egress", i)
			c.add(clause{Egress, c.peers(p, field+".to", r.To), c.networkPorts(field+".ports", r.Ports), Accept, id})
		}
	}
}

// peers leaves out what cannot be honoured: it opens nothing.
func (c *compiler) peers(p *networkingv1.NetworkPolicy, field string, all []networkingv1.NetworkPolicyPeer) (peers []peer) {
	if len(all) == 0 {
		return []peer{everyone()}
	}
	for i, one := range all {
		if made, ok := c.peer(p, at(field, i), one); ok {
			peers = append(peers, made)
		}
	}
	return peers
}

func (c *compiler) peer(p *networkingv1.NetworkPolicy, field string, one networkingv1.NetworkPolicyPeer) (peer, bool) {
	selects := one.PodSelector != nil || one.NamespaceSelector != nil
	if selects == (one.IPBlock != nil) {
		c.problem(field, "want either an ipBlock, or a podSelector, a namespaceSelector or both; the peer matches nothing")
		return peer{}, false
	}
	if one.IPBlock != nil {
		return c.ipBlock(field+".ipBlock", one.IPBlock)
	}
	s := selection{namespace: p.Namespace}
	var err error
	if s.labels, err = parseSelector(one.PodSelector); err != nil {
		c.problem(field+".podSelector", fmt.Sprintf("%v: want a valid selector; the peer matches nothing", err))
		return peer{}, false
	}
	if s.namespaces, err = parseSelector(one.NamespaceSelector); err != nil {
		c.problem(field+".namespaceSelector", fmt.Sprintf("%v: want a valid selector; the peer matches nothing", err))
		return peer{}, false
	}
	if s.labels == nil {
		s.labels = labels.Everything()
	}
	if s.namespaces != nil {
		s.namespace = ""
	}
	return peer{selection: &s}, true
}

func (c *compiler) ipBlock(field string, b *networkingv1.IPBlock) (peer, bool) {
	cidr, err := parseCIDR(b.CIDR)
	if err != nil {
		c.problem(field+".cidr", fmt.Sprintf("%v; the peer matches nothing", err))
		return peer{}, false
	}
	var holes []Range
	for i, e := range b.Except {
		hole, err := parseCIDR(e)
		if err != nil {
			c.problem(at(field+".except", i), fmt.Sprintf("%v; the peer matches nothing", err))
			return peer{}, false
		}
		if hole.Addr().Is4() == cidr.Addr().Is4() {
			holes = append(holes, rangeOf(hole))
		}
	}
	return rangesPeer(cidr.Addr().Is6(), subtract(rangeOf(cidr), merge(holes))), true
}

func parseCIDR(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q: want a CIDR, such as 10.0.0.0/8 or 2001:db8::/32", text)
	}
	return p, nil
}

func (c *compiler) networkPorts(field string, all []networkingv1.NetworkPolicyPort) (ports []port) {
	if len(all) == 0 {
		return []port{{}}
	}
	for i, one := range all {
		if made, ok := c.networkPort(at(field, i), one); ok {
			ports = append(ports, made)
		}
	}
	return ports
}

func (c *compiler) networkPort(field string, one networkingv1.NetworkPolicyPort) (port, bool) {
	made := port{protocol: TCP}
	if one.Protocol != nil {
		if made.protocol = protocolOf(string(*one.Protocol)); made.protocol == 0 {
			c.problem(field+".protocol", fmt.Sprintf("%q: want TCP, UDP or SCTP; the port matches nothing", *one.Protocol))
			return port{}, false
		}
	}
	switch {
	case one.Port == nil && one.EndPort == nil:
		return made, true
	case one.Port == nil || one.EndPort != nil && one.Port.Type == intstr.String:
		c.problem(field+".endPort", fmt.Sprintf("%d: want it only with a port that is a number; the port matches nothing", *one.EndPort))
		return port{}, false
	case one.Port.Type == intstr.String:
		if made.name = one.Port.StrVal; made.name == "" {
			c.problem(field+".port", `"": want a number or a name; the port matches nothing`)
		}
		return made, made.name != ""
	}
	first, last := one.Port.IntVal, one.Port.IntVal
	if one.EndPort != nil {
		last = *one.EndPort
	}
	if !validPort(first) || !validPort(last) || last < first {
		c.problem(field+".port", fmt.Sprintf("%d to %d: want ports from 1 to 65535, the smaller one first; the port matches nothing", first, last))
		return port{}, false
	}
	made.ranges = []PortRange{{uint16(first), uint16(last)}} //nolint:gosec // they were found valid
	return made, true
}
