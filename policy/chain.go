package policy

import (
	"encoding/binary"
	"slices"
)

// chain is a Chain, and how many bundles and chains in use name it.
type chain struct {
	Chain
	// next is the one that its Passes go to.
	next *chain
	sets []*set
	refs int
	// published says that the last Take knew it.
	published bool
}

// title is empty for no chain.
func (c *chain) title() string {
	if c == nil {
		return ""
	}
	return c.Name
}

// depth is how many chains a packet may go through from here.
func (c *chain) depth() int {
	if c == nil {
		return 0
	}
	return 1 + c.next.depth()
}

// tiers makes the chain of the Admin tier, which passes to that of the rest where there are both.
func (x *Index) tiers(b *bundle, d Direction, admin, rest []Rule) *chain {
	// A Pass of the Baseline tier goes to a chain without rules: the default, which accepts.
	var last *chain
	if slices.ContainsFunc(rest, isPass) {
		last = x.chainOf(b, d, nil, nil)
	}
	if len(admin) == 0 {
		if len(rest) == 0 {
			return nil
		}
		return x.acquireChain(x.chainOf(b, d, rest, last))
	}
	var next *chain
	if len(rest) > 0 {
		admin = append(admin, Rule{Verdict: Pass, ID: RuleID{Rule: -1}})
		next = x.chainOf(b, d, rest, last)
	} else if slices.ContainsFunc(admin, isPass) {
		next = x.chainOf(b, d, nil, nil)
	}
	return x.acquireChain(x.chainOf(b, d, admin, next))
}

func isPass(r Rule) bool { return r.Verdict == Pass }

// chainOf is the one of rules whose Passes go to next. It is not in use before somebody acquires it.
func (x *Index) chainOf(b *bundle, d Direction, rules []Rule, next *chain) *chain {
	rules = slices.Clone(rules)
	if end := slices.IndexFunc(rules, Rule.unconditional); end >= 0 {
		rules = rules[:end+1] // Nothing comes by what matches everything.
	}
	for i := range rules {
		if rules[i].Verdict == Pass {
			rules[i].Goto = next.Name
		}
	}
	if !slices.ContainsFunc(rules, isPass) {
		next = nil
	}
	name := d.String() + "-" + digest(encode(rules))
	if known := x.chains[name]; known != nil {
		return known
	}
	made := &chain{Chain: Chain{Name: name, Direction: d, Rules: rules}, next: next}
	x.chains[name] = made
	x.dirtyChains[made] = struct{}{}
	seen := make(map[string]bool)
	for _, r := range rules {
		for _, set := range []string{r.Peer, r.Target} {
			if set != "" && !seen[set] {
				seen[set] = true
				made.sets = append(made.sets, x.setOf(set, b.recipe(set)))
			}
		}
	}
	return made
}

// recipe is that of a set which some policy's rules name.
func (b *bundle) recipe(set string) recipe {
	for _, p := range b.policies {
		if r, ok := p.program.recipes[set]; ok {
			return r
		}
	}
	return recipe{}
}

// encode is the same for the same rules only.
func encode(rules []Rule) (content []byte) {
	text := func(s string) {
		content = append(binary.AppendUvarint(content, uint64(len(s))), s...)
	}
	for _, r := range rules {
		text(r.Peer)
		text(r.Target)
		content = append(content, byte(r.Protocol), byte(r.Verdict), byte(r.ID.Tier))
		content = binary.AppendUvarint(content, uint64(len(r.Ports)))
		for _, p := range r.Ports {
			content = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(content, p.First), p.Last)
		}
		text(r.Goto)
		text(r.ID.Namespace)
		text(r.ID.Policy)
		text(r.ID.Name)
		content = binary.AppendVarint(content, int64(r.ID.Rule))
	}
	return content
}

// acquireChain puts a chain in use, with the sets that it names and the chain that it passes to.
func (x *Index) acquireChain(c *chain) *chain {
	if c == nil {
		return nil
	}
	if c.refs++; c.refs > 1 {
		return c
	}
	x.dirtyChains[c] = struct{}{}
	for _, s := range c.sets {
		if s.refs++; s.refs == 1 {
			x.dirtySets[s] = struct{}{}
		}
	}
	x.acquireChain(c.next)
	return c
}

// releaseChain undoes acquireChain. What nothing uses any more is kept, and kept right, until the next Take: it may come back.
func (x *Index) releaseChain(c *chain) {
	if c == nil {
		return
	}
	if c.refs--; c.refs > 0 {
		return
	}
	x.dirtyChains[c] = struct{}{}
	for _, s := range c.sets {
		if s.refs--; s.refs == 0 {
			x.dirtySets[s] = struct{}{}
		}
	}
	x.releaseChain(c.next)
}
