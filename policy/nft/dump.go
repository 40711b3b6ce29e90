package nft

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/policy"
)

// Dump is the table for a ruleset as `nft -s list table` prints it, but that each element has a line of its own, in the order of their texts. nft
// takes it. It is written from the ruleset and not from what is sent, so that each is held against the other.
func (o Options) Dump(r policy.Ruleset) string {
	var d dump
	d.line(0, "table inet "+TableName+" {")
	for _, c := range o.baseCounters() {
		d.block("counter " + c.Name)
	}
	d.bindings(r)
	for _, set := range []struct {
		name       string
		six        bool
		properties []string
	}{
		{revoked4, false, []string{"flags timeout"}}, {revoked6, true, []string{"flags timeout"}},
		{insisting4, false, []string{"size 65535", "flags timeout"}}, {insisting6, true, []string{"size 65535", "flags timeout"}},
	} {
		address := addressTypes[set.six]
		flows := "type " + address + " . " + address + " . inet_proto . inet_service . inet_service"
		d.block("set "+set.name, append([]string{flows}, set.properties...)...)
	}
	if o.Theirs {
		var links []string
		for link := range r.Pods {
			links = append(links, strconv.Quote(link))
		}
		d.holding("set "+theirLinks, links, "type ifname")
	}
	d.parts(o, r)
	for _, c := range o.baseText() {
		d.block("chain "+c.name, c.rules...)
	}
	return strings.TrimSuffix(d.String(), "\n") + "}\n"
}

// DumpParts is what the table has for a ruleset beyond what it has for every one: entries of its maps, sets and chains.
func (o Options) DumpParts(r policy.Ruleset) string {
	var d dump
	d.line(0, "table inet "+TableName+" {")
	d.bindings(r)
	d.parts(o, r)
	return strings.TrimSuffix(d.String(), "\n") + "}\n"
}

var addressTypes = map[bool]string{false: "ipv4_addr", true: "ipv6_addr"}

// dump writes a table.
type dump struct{ strings.Builder }

func (d *dump) line(depth int, text string) {
	fmt.Fprintln(d, strings.Repeat("\t", depth)+text)
}

// block is a part of the table, whose lines are each a rule or a property.
func (d *dump) block(title string, lines ...string) {
	d.line(1, title+" {")
	for _, l := range lines {
		d.line(2, l)
	}
	d.line(1, "}")
	fmt.Fprintln(d)
}

// holding is a block of a set or map with elements.
func (d *dump) holding(title string, elements []string, properties ...string) {
	if len(elements) > 0 {
		slices.Sort(elements)
		properties = append(properties, "elements = {")
		for _, e := range elements {
			properties = append(properties, "\t"+e+",")
		}
		properties = append(properties, "}")
	}
	d.block(title, properties...)
}

// bindings are the maps and sets of the base that pods are in.
func (d *dump) bindings(r policy.Ruleset) {
	pods := slices.Collect(maps.Values(r.Pods))
	for _, m := range []struct {
		name  string
		chain func(policy.Binding) string
	}{
		{egress, func(b policy.Binding) string { return b.Egress }},
		{ingress, func(b policy.Binding) string { return b.Ingress }},
		{toNode, func(b policy.Binding) string { return b.Host }},
	} {
		var elements []string
		for _, b := range pods {
			verdict := "return"
			if chain := m.chain(b); chain != "" {
				verdict = "goto " + chain
			}
			elements = append(elements, strconv.Quote(b.Interface)+" : "+verdict)
		}
		d.holding("map "+m.name, elements, "type ifname : verdict")
	}
	for _, name := range []string{own4, own6} {
		var elements []string
		for _, b := range pods {
			for _, a := range b.Addresses {
				if a.Is6() == (name == own6) {
					elements = append(elements, strconv.Quote(b.Interface)+" . "+a.String())
				}
			}
		}
		d.holding("set "+name, elements, "type ifname . "+addressTypes[name == own6])
	}
}

// parts are the ruleset's own sets and chains.
func (d *dump) parts(o Options, r policy.Ruleset) {
	for _, name := range slices.Sorted(maps.Keys(r.Sets)) {
		s := r.Sets[name]
		var elements []string
		for m := range s.Members {
			elements = append(elements, m.String())
		}
		for _, one := range s.Ranges {
			elements = append(elements, rangeText(one))
		}
		d.holding("set "+name, elements, setTypes[s.Kind]...)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Chains)) {
		c := r.Chains[name]
		var rules []string
		for i, rule := range c.Rules {
			for _, match := range matchTexts(c.Direction, rule, func(set string) policy.SetKind { return r.Sets[set].Kind }) {
				switch rule.Verdict {
				case policy.Accept:
					rules = append(rules, match+"return")
				case policy.Deny:
					rules = append(rules, o.deniedText(match, prefix(c.Name, i), counterOf(c.Direction))...)
				case policy.Pass:
					rules = append(rules, match+"goto "+rule.Goto)
				}
			}
		}
		d.block("chain "+name, rules...)
	}
}

var setTypes = map[policy.SetKind][]string{
	policy.Addresses4: {"type ipv4_addr"},
	policy.Addresses6: {"type ipv6_addr"},
	policy.Ports4:     {"type ipv4_addr . inet_proto . inet_service"},
	policy.Ports6:     {"type ipv6_addr . inet_proto . inet_service"},
	policy.Ranges4:    {"type ipv4_addr", "flags interval"},
	policy.Ranges6:    {"type ipv6_addr", "flags interval"},
}

// rangeText is a prefix where the range is one.
func rangeText(r policy.Range) string {
	if r.First == r.Last {
		return r.First.String()
	}
	for bits := range r.First.BitLen() {
		if p := netip.PrefixFrom(r.First, bits); p.Masked() == p && lastOf(p) == r.Last {
			return p.String()
		}
	}
	return r.String()
}

func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// matchTexts are a rule's matches, each with a space after it.
func matchTexts(d policy.Direction, r policy.Rule, kinds func(string) policy.SetKind) []string {
	sets := ""
	if r.Target != "" {
		sets += familyText(kinds(r.Target)) + " daddr . meta l4proto . th dport @" + r.Target + " "
	}
	if r.Peer != "" {
		side := " saddr"
		if d == policy.Egress {
			side = " daddr"
		}
		sets += familyText(kinds(r.Peer)) + side + " @" + r.Peer + " "
	}
	if len(r.Ports) == 0 {
		if r.Protocol != 0 {
			sets = fmt.Sprintf("meta l4proto %s %s", r.Protocol, sets)
		}
		return []string{sets}
	}
	var out []string
	for _, p := range r.Ports {
		out = append(out, fmt.Sprintf("%s dport %s %s", r.Protocol, p, sets))
	}
	return out
}

func familyText(k policy.SetKind) string {
	switch k {
	case policy.Addresses6, policy.Ports6, policy.Ranges6:
		return "ip6"
	default:
		return "ip"
	}
}
