package nft

import (
	"fmt"
	"maps"
	"slices"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// change is what a delta asks of the kernel.
func (t *Table) change(d policy.Delta) (nft.Change, error) {
	out := nft.Change{StrayChains: d.ChainsRemoved, StraySets: d.SetsRemoved}
	if err := t.o.checkPods(d.PodsSet); err != nil {
		return out, err
	}
	added := make(map[string]policy.SetKind, len(d.SetsAdded))
	kinds := func(set string) policy.SetKind {
		if k, ok := added[set]; ok {
			return k
		}
		return t.kinds[set]
	}
	for _, s := range d.SetsAdded {
		added[s.Name] = s.Kind
		set, err := setOf(s)
		if err != nil {
			return out, err
		}
		set.Elements, set.Source = set.Source(), nil
		out.Sets = append(out.Sets, set)
	}
	for _, c := range d.ChainsAdded {
		chain, err := t.o.chain(c, kinds)
		if err != nil {
			return out, err
		}
		out.Chains = append(out.Chains, chain)
	}
	var err error
	if out.Remove, err = t.members(d.MembersRemoved); err != nil {
		return out, err
	}
	if out.Add, err = t.members(d.MembersAdded); err != nil {
		return out, err
	}
	t.rebind(&out, d)
	return out, nil
}

// members are elements of sets that were there before, in the order of the sets' names.
func (t *Table) members(bySet map[string][]policy.Member) ([]nft.Set, error) {
	out := make([]nft.Set, 0, len(bySet))
	for _, name := range slices.Sorted(maps.Keys(bySet)) {
		kind, ok := kindOf[t.kinds[name]]
		if !ok {
			return nil, fmt.Errorf("set %s: members come and go, and it is not there", name)
		}
		s := nft.Set{Name: name, Kind: kind, Elements: make([]nft.Element, 0, len(bySet[name]))}
		for _, m := range bySet[name] {
			s.Elements = append(s.Elements, member(kind, m))
		}
		out = append(out, s)
	}
	return out, nil
}

// rebind puts into a change what becomes different in the base sets.
func (t *Table) rebind(out *nft.Change, d policy.Delta) {
	var was []policy.Binding
	for _, b := range d.PodsSet {
		if old, ok := t.pods[b.Interface]; ok {
			was = append(was, old)
		}
	}
	for _, pod := range d.PodsRemoved {
		if old, ok := t.pods[pod]; ok {
			was = append(was, old)
		}
	}
	before, after := elementsOf(was), elementsOf(d.PodsSet)
	if t.o.Theirs {
		before[theirLinks], after[theirLinks] = t.unlisted(was), t.unlisted(d.PodsSet)
	}
	for _, s := range t.o.baseSets() {
		if gone := nft.Without(before[s.Name], after[s.Name]); len(gone) > 0 {
			s.Elements = gone
			out.Remove = append(out.Remove, s)
		}
		if come := nft.Without(after[s.Name], before[s.Name]); len(come) > 0 {
			s.Elements = come
			out.Add = append(out.Add, s)
		}
	}
}

// remember is what Apply knows once a delta is in the kernel.
func (t *Table) remember(d policy.Delta) {
	for _, s := range d.SetsAdded {
		t.kinds[s.Name] = s.Kind
	}
	for _, name := range d.SetsRemoved {
		delete(t.kinds, name)
	}
	for _, c := range d.ChainsAdded {
		t.denials[c.Name] = denialsOf(c)
	}
	for _, name := range d.ChainsRemoved {
		delete(t.denials, name)
	}
	for _, pod := range d.PodsRemoved {
		delete(t.pods, pod)
	}
	for _, b := range d.PodsSet {
		t.pods[b.Interface] = b
	}
}
