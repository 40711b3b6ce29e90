package policy

import "slices"

// Judge walks the chains of a pod's interface as the kernel does, and says what becomes of a new connection in one direction and by
// which rule. With host it is the pod's traffic to its own node, or that node's to the pod.
func (r Ruleset) Judge(b Binding, d Direction, p Packet, host bool) (Verdict, RuleID) {
	byDefault := RuleID{Rule: -1}
	name := b.Ingress
	switch {
	case host && d == Ingress, slices.Contains(b.Addresses, p.From) && slices.Contains(b.Addresses, p.To):
		return Accept, byDefault
	case host:
		name = b.Host
	case d == Egress:
		name = b.Egress
	}
	for name != "" {
		chain, ok := r.Chains[name]
		if !ok {
			return Deny, byDefault
		}
		at := slices.IndexFunc(chain.Rules, func(rule Rule) bool { return r.matches(rule, d, p) })
		if at < 0 {
			break
		}
		if rule := chain.Rules[at]; rule.Verdict != Pass {
			return rule.Verdict, rule.ID
		}
		name = chain.Rules[at].Goto
	}
	return Accept, byDefault
}

func (r Ruleset) matches(rule Rule, d Direction, p Packet) bool {
	peer := p.From
	if d == Egress {
		peer = p.To
	}
	if rule.Protocol != 0 && rule.Protocol != p.Protocol {
		return false
	}
	if len(rule.Ports) > 0 && !slices.ContainsFunc(rule.Ports, func(r PortRange) bool { return r.First <= p.Port && p.Port <= r.Last }) {
		return false
	}
	if rule.Target != "" && !r.Sets[rule.Target].has(Member{p.To, p.Protocol, p.Port}) {
		return false
	}
	return rule.Peer == "" || r.Sets[rule.Peer].has(Member{Address: peer})
}

func (s Set) has(m Member) bool {
	_, ok := s.Members[m]
	return ok || holds(s.Ranges, m.Address)
}
