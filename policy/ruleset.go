package policy

import "net/netip"

// Ruleset is everything the kernel should hold for policy. A value: two that are equal mean the same to the kernel, and one that was
// reached by events in any order equals the one that is made from their outcome at once.
type Ruleset struct {
	// Sets, Chains and Pods are by name, by name and by interface.
	Sets   map[string]Set
	Chains map[string]Chain
	Pods   map[string]Binding
}

// SetKind is what a set holds.
type SetKind uint8

// The kinds of sets. Pods' addresses are only ever in hash sets.
const (
	// Addresses4 and Addresses6 are hash sets of addresses.
	Addresses4 SetKind = iota + 1
	Addresses6
	// Ports4 and Ports6 are hash sets of address, protocol and port.
	Ports4
	Ports6
	// Ranges4 and Ranges6 are interval sets. They never change: their name follows from their ranges.
	Ranges4
	Ranges6
)

// Set is a named set. Its name follows from what it is for (a selector, a named port) and its kind, not from its members.
type Set struct {
	Name string
	Kind SetKind
	// Members are those of hash sets.
	Members map[Member]struct{}
	// Ranges are those of interval sets: ordered, disjoint, not touching.
	Ranges []Range
}

// Member is an element of a hash set; Protocol and Port are zero but in sets of ports.
type Member struct {
	Address  netip.Addr
	Protocol Protocol
	Port     uint16
}

// Range is from First to Last, both among it.
type Range struct{ First, Last netip.Addr }

// Chain is a list of rules, of which the first that matches decides. At its end the packet is accepted in the chain's direction.
// A chain never changes: its name follows from its direction and its rules, and all local pods to whom the same applies share it.
type Chain struct {
	Name      string
	Direction Direction
	Rules     []Rule
}

// Rule matches what all its conditions match; a condition that is zero matches everything.
type Rule struct {
	// Peer names a set of addresses or ranges: of the source for ingress, of the destination for egress.
	Peer string
	// Target names a set of ports, of which the destination's address, protocol and port are a member.
	Target string
	// Protocol is that of the packet, and Ports hold its destination port; Ports need one of TCP, UDP and SCTP.
	Protocol Protocol
	Ports    []PortRange
	// Verdict is what to do, and Goto the chain of a Pass.
	Verdict Verdict
	Goto    string
	// ID is the rule this came from, of which there may be several.
	ID RuleID
}

// PortRange is from First to Last, both among it.
type PortRange struct{ First, Last uint16 }

// Verdict is what becomes of a packet in one direction.
type Verdict uint8

// The verdicts.
const (
	// Accept leaves the chain: this direction is done.
	Accept Verdict = iota + 1
	Deny
	// Pass goes to another chain and does not come back.
	Pass
)

func (v Verdict) String() string {
	switch v {
	case Accept:
		return "accept"
	case Deny:
		return "deny"
	case Pass:
		return "pass"
	}
	return "none"
}

// Binding ties an interface of a local pod to its chains. An interface without a binding passes nothing.
type Binding struct {
	Interface string
	PodKey
	// Addresses are what the interface was given: ordered.
	Addresses []netip.Addr
	// Ingress and Egress name the chains for what is forwarded to and from the pod; empty where nothing applies, which passes all.
	Ingress, Egress string
	// Host names the chain for what the pod sends to its own node: ClusterNetworkPolicy applies to it, NetworkPolicy does not.
	Host string
}

// Delta is what changed between two rulesets. What is added is there before what names it, and what is removed goes after.
type Delta struct {
	SetsAdded []Set // with their members
	// MembersAdded and MembersRemoved are of sets that were there before and stay, by name.
	MembersAdded, MembersRemoved map[string][]Member
	ChainsAdded                  []Chain
	PodsSet                      []Binding // new, or bound anew
	PodsRemoved                  []string
	ChainsRemoved, SetsRemoved   []string
}

// Empty says that nothing changed.
func (d Delta) Empty() bool {
	return len(d.SetsAdded)+len(d.MembersAdded)+len(d.MembersRemoved)+len(d.ChainsAdded)+len(d.PodsSet)+len(d.PodsRemoved)+
		len(d.ChainsRemoved)+len(d.SetsRemoved) == 0
}

// Packet is what rules look at, after DNAT. Port is the destination's; it is zero where the protocol has none.
type Packet struct {
	From, To netip.Addr
	Protocol Protocol
	Port     uint16
}
