package policy

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// What of a ClusterNetworkPolicy cannot be read, or is of a kind that nobody knew when this was written, may mean anything. The
// specification asks to be safe whatever it means: such a part of an Accept matches nothing, and what a Pass or a Deny might mean
// is denied.

// extent is what a rule matches for sure, and what it might match at most. They are equal where all could be read.
type extent[T any] struct {
	sure, most []T
	unsure     bool
}

func (e *extent[T]) add(t T) { e.sure, e.most = append(e.sure, t), append(e.most, t) }

func (e *extent[T]) doubt(most T) { e.most, e.unsure = append(e.most, most), true }

const ifUnread = "an Accept by it matches nothing, a Pass or Deny denies everything that it could mean"

// clusterSubjectOf selects the pods of a ClusterNetworkPolicy. One that cannot be read might select any.
func (c *compiler) clusterSubjectOf(s v1alpha2.ClusterNetworkPolicySubject) (found selection, sure bool) {
	if (s.Namespaces == nil) == (s.Pods == nil) {
		c.problem("spec.subject", "want one of namespaces and pods; "+ifUnread)
		return everyPod, false
	}
	if found, sure = c.podsOf("spec.subject", s.Namespaces, s.Pods); !sure {
		return everyPod, false
	}
	return found, true
}

// podsOf reads one of the two ways to select pods.
func (c *compiler) podsOf(field string, namespaces *metav1.LabelSelector, pods *v1alpha2.NamespacedPod) (selection, bool) {
	if pods == nil {
		ns, ok := c.selector(field+".namespaces", namespaces)
		return selection{namespaces: ns, labels: labels.Everything()}, ok
	}
	ns, ok := c.selector(field+".pods.namespaceSelector", &pods.NamespaceSelector)
	of, also := c.selector(field+".pods.podSelector", &pods.PodSelector)
	return selection{namespaces: ns, labels: of}, ok && also
}

func (c *compiler) selector(field string, s *metav1.LabelSelector) (labels.Selector, bool) {
	parsed, err := parseSelector(s)
	if err != nil {
		c.problem(field, fmt.Sprintf("%v: want a valid selector; %s", err, ifUnread))
	}
	return parsed, err == nil
}

// tierOf puts a policy of an unknown tier into the first, where only its denials count.
func (c *compiler) tierOf(t v1alpha2.Tier) (found Tier, sure bool) {
	switch t {
	case v1alpha2.AdminTier:
		return AdminTier, true
	case v1alpha2.BaselineTier:
		return BaselineTier, true
	}
	c.problem("spec.tier", fmt.Sprintf("%q: want Admin or Baseline; it is taken for Admin, and %s", t, ifUnread))
	return AdminTier, false
}

// clusterPolicy writes the rules. Of one that is not sure to mean a pod only the denials count.
func (c *compiler) clusterPolicy(p *v1alpha2.ClusterNetworkPolicy, tier Tier, sure bool) {
	id := RuleID{Tier: tier, Policy: p.Name}
	for i, r := range p.Spec.Ingress {
		field := at("spec.ingress", i)
		peers := make([]v1alpha2.ClusterNetworkPolicyEgressPeer, len(r.From))
		for j, from := range r.From {
			peers[j] = v1alpha2.ClusterNetworkPolicyEgressPeer{Namespaces: from.Namespaces, Pods: from.Pods}
		}
		id.Rule, id.Name = i, r.Name
		c.clusterRule(clause{direction: Ingress, verdict: c.action(field, r.Action), id: id},
			c.clusterPeers(field+".from", peers), c.clusterPorts(field, r.Protocols), sure)
	}
	for i, r := range p.Spec.Egress {
		field := at("spec.egress", i)
		id.Rule, id.Name = i, r.Name
		c.clusterRule(clause{direction: Egress, verdict: c.action(field, r.Action), id: id},
			c.clusterPeers(field+".to", r.To), c.clusterPorts(field, r.Protocols), sure)
	}
}

func (c *compiler) action(field string, a v1alpha2.ClusterNetworkPolicyRuleAction) Verdict {
	switch a {
	case v1alpha2.ClusterNetworkPolicyRuleActionAccept:
		return Accept
	case v1alpha2.ClusterNetworkPolicyRuleActionPass:
		return Pass
	case v1alpha2.ClusterNetworkPolicyRuleActionDeny:
		return Deny
	}
	c.problem(field+".action", fmt.Sprintf("%q: want Accept, Deny or Pass; it is taken for Deny", a))
	return Deny
}

func (c *compiler) clusterRule(l clause, peers extent[peer], ports extent[port], sure bool) {
	if l.verdict != Deny && sure {
		l.peers, l.ports = peers.sure, ports.sure
		c.add(l)
	}
	if l.verdict == Deny || l.verdict == Pass && (!sure || peers.unsure || ports.unsure) {
		l.verdict, l.peers, l.ports = Deny, peers.most, ports.most
		c.add(l)
	}
}

func (c *compiler) clusterPeers(field string, all []v1alpha2.ClusterNetworkPolicyEgressPeer) (peers extent[peer]) {
	if len(all) == 0 {
		c.problem(field, "want at least one peer; "+ifUnread)
		peers.doubt(everyone())
	}
	for i, one := range all {
		c.clusterPeer(&peers, at(field, i), one)
	}
	return peers
}

func (c *compiler) clusterPeer(peers *extent[peer], field string, one v1alpha2.ClusterNetworkPolicyEgressPeer) {
	fields := 0
	for _, set := range []bool{one.Namespaces != nil, one.Pods != nil, one.Nodes != nil, len(one.Networks) > 0, len(one.DomainNames) > 0} {
		if set {
			fields++
		}
	}
	var s selection
	ok := false
	switch {
	case fields != 1:
		c.problem(field, "want exactly one of namespaces, pods, nodes and networks, and no kind of peer that is newer; "+ifUnread)
	case len(one.DomainNames) > 0:
		c.problem(field+".domainNames", fmt.Sprintf("%q: want another kind of peer, names of domains are not supported; %s", one.DomainNames, ifUnread))
	case len(one.Networks) > 0:
		c.networks(peers, field+".networks", one.Networks)
		return
	case one.Nodes != nil:
		s.of = ofNodes
		s.labels, ok = c.selector(field+".nodes", one.Nodes)
	default:
		s, ok = c.podsOf(field, one.Namespaces, one.Pods)
	}
	if !ok {
		peers.doubt(everyone())
		return
	}
	peers.add(peer{selection: &s})
}

func (c *compiler) networks(peers *extent[peer], field string, cidrs []v1alpha2.CIDR) {
	for i, text := range cidrs {
		cidr, err := parseCIDR(string(text))
		if err != nil {
			c.problem(at(field, i), fmt.Sprintf("%v; %s", err, ifUnread))
			peers.doubt(everyone())
			continue
		}
		peers.add(rangesPeer(cidr.Addr().Is6(), []Range{rangeOf(cidr)}))
	}
}

func (c *compiler) clusterPorts(rule string, all []v1alpha2.ClusterNetworkPolicyProtocol) (ports extent[port]) {
	if len(all) == 0 {
		ports.add(port{})
	}
	for i, one := range all {
		c.clusterPort(&ports, at(rule+".protocols", i), one)
	}
	return ports
}

func (c *compiler) clusterPort(ports *extent[port], field string, one v1alpha2.ClusterNetworkPolicyProtocol) {
	fields := 0
	for _, set := range []bool{one.TCP != nil, one.UDP != nil, one.SCTP != nil, one.DestinationNamedPort != ""} {
		if set {
			fields++
		}
	}
	switch {
	case fields != 1:
		c.problem(field, "want exactly one of tcp, udp, sctp and destinationNamedPort, and no kind that is newer; "+ifUnread)
		ports.doubt(port{})
	case one.TCP != nil:
		c.numbers(ports, field+".tcp", TCP, one.TCP.DestinationPort)
	case one.UDP != nil:
		c.numbers(ports, field+".udp", UDP, one.UDP.DestinationPort)
	case one.SCTP != nil:
		c.numbers(ports, field+".sctp", SCTP, one.SCTP.DestinationPort)
	default:
		ports.add(port{name: one.DestinationNamedPort})
	}
}

// numbers reads a port or a range. One of them is always there, or it was said in words that are newer.
func (c *compiler) numbers(ports *extent[port], field string, protocol Protocol, p *v1alpha2.Port) {
	if p == nil || (p.Number == 0) == (p.Range == nil) {
		c.problem(field+".destinationPort", "want a number or a range; "+ifUnread)
		ports.doubt(port{protocol: protocol})
		return
	}
	first, last := p.Number, p.Number
	if p.Range != nil {
		first, last = p.Range.Start, p.Range.End
	}
	if !validPort(first) || !validPort(last) || last < first {
		c.problem(field+".destinationPort", fmt.Sprintf("%d to %d: want ports from 1 to 65535, the smaller one first; %s", first, last, ifUnread))
		ports.doubt(port{protocol: protocol})
		return
	}
	ports.add(port{protocol: protocol, ranges: []PortRange{{uint16(first), uint16(last)}}}) //nolint:gosec // they were found valid
}
