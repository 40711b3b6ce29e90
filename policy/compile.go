package policy

import (
	"slices"
	"strconv"
)

// program is what a policy says, whoever its peers are at present.
type program struct {
	// rules are by direction, and isolates says of a NetworkPolicy whether it isolates in one.
	rules    [2][]Rule
	isolates [2]bool
	// recipes are of the sets that the rules name.
	recipes map[string]recipe
}

func side(d Direction) int {
	if d == Egress {
		return 1
	}
	return 0
}

// compiler makes a program of a policy, and notes what it cannot honour.
type compiler struct {
	program
	problems []Problem
	// about is the policy, as its problems name it.
	about Problem
}

func (c *compiler) problem(field, detail string) {
	p := c.about
	p.Field, p.Detail = field, detail
	c.problems = append(c.problems, p)
}

// peer is whom one element of from or to means: all, a selection, or addresses of both families.
type peer struct {
	all       bool
	selection *selection
	ranges    [2][]Range
}

// port is what one element of ports means. The zero port is everything, other protocols among it.
type port struct {
	protocol Protocol
	ranges   []PortRange
	name     string
}

// clause is a rule of a policy: what matches a peer and a port gets the verdict.
type clause struct {
	direction Direction
	peers     []peer
	ports     []port
	verdict   Verdict
	id        RuleID
}

var families = [2]struct{ addresses, ports, ranges SetKind }{{Addresses4, Ports4, Ranges4}, {Addresses6, Ports6, Ranges6}}

// set notes that rules name a set, and returns its name.
func (c *compiler) set(r recipe) string {
	name := r.name()
	if c.recipes == nil {
		c.recipes = make(map[string]recipe)
	}
	c.recipes[name] = r
	return name
}

// add writes a clause as rules.
func (c *compiler) add(l clause) {
	for _, peer := range joinRanges(l.peers) {
		for _, port := range joinPorts(l.ports) {
			if port.name != "" {
				c.addNamed(l, peer, port)
				continue
			}
			for _, name := range c.peerSets(peer) {
				c.rule(l, Rule{Peer: name, Protocol: port.protocol, Ports: port.ranges})
			}
		}
	}
}

// addNamed writes what a port's name means at each destination: for ingress at the subject itself, for egress at the peer. Where the
// peer is no selection, any pod may have the name.
func (c *compiler) addNamed(l clause, peer peer, port port) {
	owners := everyPod
	if l.direction == Ingress {
		owners = everyLocal
	} else if peer.selection != nil && peer.selection.of == ofPods {
		owners, peer = *peer.selection, everyone()
	}
	for i, family := range families {
		rule := Rule{Protocol: port.protocol}
		switch {
		case peer.selection != nil:
			rule.Peer = c.set(recipe{kind: family.addresses, of: *peer.selection})
		case len(peer.ranges[i]) > 0:
			rule.Peer = c.set(recipe{kind: family.ranges, ranges: peer.ranges[i]})
		case !peer.all:
			continue
		}
		rule.Target = c.set(recipe{kind: family.ports, of: owners, port: port.name})
		c.rule(l, rule)
	}
}

func everyone() peer { return peer{all: true} }

func rangesPeer(ipv6 bool, ranges []Range) (p peer) {
	family := 0
	if ipv6 {
		family = 1
	}
	p.ranges[family] = ranges
	return p
}

// peerSets are the names of a peer's sets; that of everyone is empty.
func (c *compiler) peerSets(p peer) (names []string) {
	if p.all {
		return []string{""}
	}
	for i, family := range families {
		switch {
		case p.selection != nil:
			names = append(names, c.set(recipe{kind: family.addresses, of: *p.selection}))
		case len(p.ranges[i]) > 0:
			names = append(names, c.set(recipe{kind: family.ranges, ranges: p.ranges[i]}))
		}
	}
	return names
}

func (c *compiler) rule(l clause, r Rule) {
	r.Verdict, r.ID = l.verdict, l.id
	c.rules[side(l.direction)] = append(c.rules[side(l.direction)], r)
}

// joinRanges leaves one peer of all that are addresses, and only everyone where that is among them.
func joinRanges(peers []peer) (joined []peer) {
	var addresses peer
	for _, p := range peers {
		switch {
		case p.all:
			return []peer{p}
		case p.selection != nil:
			joined = append(joined, p)
		}
		for i := range families {
			addresses.ranges[i] = append(addresses.ranges[i], p.ranges[i]...)
		}
	}
	for i := range families {
		addresses.ranges[i] = merge(addresses.ranges[i])
	}
	return append(joined, addresses)
}

// joinPorts leaves at most one port of each protocol, and those with names; and only the zero port where that is among them.
func joinPorts(ports []port) (joined []port) {
	var numbers [256][]PortRange
	var whole [256]bool
	var named []port
	for _, p := range ports {
		switch {
		case p.protocol == 0 && p.name == "":
			return []port{{}}
		case p.name != "":
			if !slices.ContainsFunc(named, func(n port) bool { return n.name == p.name && n.protocol == p.protocol }) {
				named = append(named, p)
			}
		case len(p.ranges) == 0:
			whole[p.protocol] = true
		default:
			numbers[p.protocol] = append(numbers[p.protocol], p.ranges...)
		}
	}
	for _, protocol := range []Protocol{TCP, UDP, SCTP} {
		switch {
		case whole[protocol]:
			joined = append(joined, port{protocol: protocol})
		case len(numbers[protocol]) > 0:
			joined = append(joined, port{protocol: protocol, ranges: mergePorts(numbers[protocol])})
		}
	}
	return append(joined, named...)
}

// protocolOf is 0 for what is none of TCP, UDP and SCTP.
func protocolOf(name string) Protocol {
	switch name {
	case "TCP":
		return TCP
	case "UDP":
		return UDP
	case "SCTP":
		return SCTP
	}
	return 0
}

func validPort(n int32) bool { return n >= 1 && n <= 65535 }

// at is a field's path with an index.
func at(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }
