package policy

import (
	"cmp"
	"slices"
)

// Take is what changed since the last Take, or since the beginning; the zero Delta where nothing did. Each of its lists is ordered: a
// chain comes after those that it passes to, and goes before them.
func (x *Index) Take() Delta {
	x.settle()
	var d Delta
	x.takeChains(&d)
	x.takeSets(&d)
	x.takeBindings(&d)
	return d
}

func (x *Index) takeChains(d *Delta) {
	var in, out []*chain
	for c := range x.dirtyChains {
		switch {
		case c.refs > 0 && !c.published:
			in = append(in, c)
		case c.refs == 0 && c.published:
			out = append(out, c)
		}
		if c.published = c.refs > 0; !c.published {
			delete(x.chains, c.Name)
		}
	}
	clear(x.dirtyChains)
	byDepth := func(a, b *chain) int { return cmp.Or(cmp.Compare(a.depth(), b.depth()), cmp.Compare(a.Name, b.Name)) }
	slices.SortFunc(in, byDepth)
	slices.SortFunc(out, func(a, b *chain) int { return byDepth(b, a) })
	for _, c := range in {
		d.ChainsAdded = append(d.ChainsAdded, c.Chain)
	}
	for _, c := range out {
		d.ChainsRemoved = append(d.ChainsRemoved, c.Name)
	}
}

func (x *Index) takeSets(d *Delta) {
	for s := range x.dirtySets {
		switch {
		case s.refs == 0 && s.published:
			d.SetsRemoved = append(d.SetsRemoved, s.name)
		case s.refs > 0 && !s.published:
			d.SetsAdded = append(d.SetsAdded, s.copy())
		case s.refs > 0:
			added, removed := s.changes()
			note(&d.MembersAdded, s.name, added)
			note(&d.MembersRemoved, s.name, removed)
		}
		s.was = nil
		if s.published = s.refs > 0; !s.published {
			x.dropSet(s)
		}
	}
	clear(x.dirtySets)
	slices.SortFunc(d.SetsAdded, func(a, b Set) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(d.SetsRemoved)
}

func note(to *map[string][]Member, set string, members []Member) {
	if len(members) == 0 {
		return
	}
	if *to == nil {
		*to = make(map[string][]Member)
	}
	(*to)[set] = members
}

func (x *Index) takeBindings(d *Delta) {
	for name, then := range x.bindingsThen {
		now, bound := x.bindings[name]
		switch {
		case bound && (then == nil || !then.equal(now)):
			d.PodsSet = append(d.PodsSet, now)
		case !bound && then != nil:
			d.PodsRemoved = append(d.PodsRemoved, name)
		}
	}
	clear(x.bindingsThen)
	slices.SortFunc(d.PodsSet, func(a, b Binding) int { return cmp.Compare(a.Interface, b.Interface) })
	slices.Sort(d.PodsRemoved)
}
