package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// String is the ruleset in words, the same for equal ones.
func (r Ruleset) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.Pods)) {
		b.WriteString(r.Pods[name].String())
	}
	for _, name := range slices.Sorted(maps.Keys(r.Chains)) {
		b.WriteString("\n" + r.Chains[name].String())
	}
	for _, name := range slices.Sorted(maps.Keys(r.Sets)) {
		b.WriteString("\n" + r.Sets[name].String())
	}
	return b.String()
}

// String names the pod and its chains.
func (b Binding) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "pod %s on %s: %s\n", b.PodKey, b.Interface, words(b.Addresses))
	for _, c := range []struct{ what, name string }{{"ingress", b.Ingress}, {"egress", b.Egress}, {"to its node", b.Host}} {
		if c.name == "" {
			c.name = "everything"
		}
		fmt.Fprintf(&text, "  %s: %s\n", c.what, c.name)
	}
	return text.String()
}

// String is the chain, a rule a line, and what becomes of the rest.
func (c Chain) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chain %s\n", c.Name)
	for _, r := range c.Rules {
		b.WriteString("  " + r.text(c.Direction) + "\n")
		if r.unconditional() {
			return b.String()
		}
	}
	return b.String() + "  accept everything else\n"
}

func (r Rule) unconditional() bool { return r.Peer == "" && r.Target == "" && r.Protocol == 0 }

func (r Rule) text(d Direction) string {
	text := r.Verdict.String()
	if r.Verdict == Pass {
		text += " to " + r.Goto
	}
	switch {
	case r.Peer != "" && d == Egress:
		text += " to " + r.Peer
	case r.Peer != "":
		text += " from " + r.Peer
	}
	if r.Protocol != 0 {
		text += " " + r.Protocol.String()
	}
	if len(r.Ports) > 0 {
		text += " " + words(r.Ports)
	}
	if r.Target != "" {
		text += " at " + r.Target
	}
	if r.unconditional() {
		text += " everything"
	}
	if id := r.ID.String(); id != "" {
		text += "  # " + id
	}
	return text
}

// String names the rule as its policy's reader counts: from 0, as in a field's path.
func (id RuleID) String() string {
	text := id.Tier.String()
	switch {
	case id.Namespace != "":
		text += " " + id.Namespace + "/" + id.Policy
	case id.Policy != "":
		text += " " + id.Policy
	}
	switch {
	case id.Tier == NoTier:
		return text
	case id.Rule < 0:
		return text + " (isolated)"
	case id.Name != "":
		return fmt.Sprintf("%s rule %d (%s)", text, id.Rule, id.Name)
	}
	return fmt.Sprintf("%s rule %d", text, id.Rule)
}

func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return fmt.Sprintf("%s-%s", r.First, r.Last)
}

// String is the set with all that it holds.
func (s Set) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "set %s\n", s.Name)
	for _, m := range slices.SortedFunc(maps.Keys(s.Members), Member.compare) {
		fmt.Fprintf(&b, "  %s\n", m)
	}
	for _, r := range s.Ranges {
		fmt.Fprintf(&b, "  %s\n", r)
	}
	return b.String()
}

func words[T fmt.Stringer](all []T) string {
	if len(all) == 0 {
		return "nothing"
	}
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return strings.Join(texts, ", ")
}
