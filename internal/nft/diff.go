package nft

import "slices"

// difference is what separates a table that is from one that is wanted.
type difference struct {
	// rebuild says that something has our name and is of another kind, which cannot be changed in place.
	rebuild bool
	// table says that the table is missing, or put to sleep.
	table    bool
	counters []Counter
	sets     []Set
	elements []setDifference
	chains   []Chain
	// refill are the chains whose rules are wrong or missing.
	refill []Chain
	// The rest is in the table and not wanted.
	strayCounters []Counter
	straySets     []Set
	strayChains   []Chain
}

// setDifference is the elements to take from a set and those to put into it.
type setDifference struct {
	set Set
	// flush takes all.
	flush       bool
	remove, add []Element
}

func (d difference) empty() bool {
	return !d.rebuild && !d.table && len(d.counters)+len(d.sets)+len(d.elements)+len(d.chains)+len(d.refill)+
		len(d.strayCounters)+len(d.straySets)+len(d.strayChains) == 0
}

// diff compares; have is nil when there is no table.
func diff(have *Table, want *Table) (difference, error) {
	var d difference
	if have == nil {
		have, d.table = &Table{Family: want.Family, Name: want.Name}, true
	}
	d.table = d.table || have.asleep
	diffCounters(&d, have, want)
	diffSets(&d, have, want)
	err := diffChains(&d, have, want)
	return d, err
}

func diffCounters(d *difference, have, want *Table) {
	for _, c := range want.Counters {
		if have.counter(c.Name) == nil {
			d.counters = append(d.counters, c)
		}
	}
	for _, c := range have.Counters {
		if want.counter(c.Name) == nil {
			d.strayCounters = append(d.strayCounters, c)
		}
	}
}

func diffSets(d *difference, have, want *Table) {
	for _, s := range want.Sets {
		is := have.set(s.Name)
		if is == nil {
			d.sets = append(d.sets, s)
			is = &Set{Name: s.Name, Kind: s.Kind}
		}
		if is.Kind != s.Kind {
			d.rebuild = true
			continue
		}
		e := setDifference{set: s, flush: is.torn, remove: without(is.Elements, s.Elements), add: without(s.Elements, is.Elements)}
		if e.flush || len(e.remove)+len(e.add) > 0 {
			d.elements = append(d.elements, e)
		}
	}
	for _, s := range have.Sets {
		if want.set(s.Name) == nil {
			d.straySets = append(d.straySets, s)
		}
	}
}

func diffChains(d *difference, have, want *Table) error {
	for _, c := range want.Chains {
		is := have.chain(c.Name)
		if is == nil {
			d.chains = append(d.chains, c)
			is = &Chain{Name: c.Name, Hook: c.Hook}
		}
		d.rebuild = d.rebuild || !sameHook(is.Hook, c.Hook)
		a, err := keys(have.Family, is.Rules)
		if err != nil {
			return err
		}
		b, err := keys(want.Family, c.Rules)
		if err != nil {
			return err
		}
		if !slices.Equal(a, b) {
			d.refill = append(d.refill, c)
		}
	}
	for _, c := range have.Chains {
		if want.chain(c.Name) == nil {
			d.strayChains = append(d.strayChains, c)
		}
	}
	return nil
}

// without is the elements of a that are not in b.
func without(a, b []Element) []Element {
	known := make(map[Element]bool, len(b))
	for _, e := range b {
		known[e] = true
	}
	var out []Element
	for _, e := range a {
		if !known[e] {
			out = append(out, e)
		}
	}
	return out
}
