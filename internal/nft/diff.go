package nft

import "slices"

// difference is what separates a table that is from one that is wanted.
type difference struct {
	// rebuild says that something has our name and is of another kind, which cannot be changed in place.
	rebuild bool
	// table says that the table is missing, or put to sleep.
	table bool
	// missing says that it is not there at all.
	missing  bool
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
	// size is how many elements the set then has.
	size int
	// flush takes all.
	flush       bool
	remove, add []Element
}

func (d difference) empty() bool {
	return !d.rebuild && !d.table && len(d.counters)+len(d.sets)+len(d.elements)+len(d.chains)+len(d.refill)+
		len(d.strayCounters)+len(d.straySets)+len(d.strayChains) == 0
}

// diff compares; have is nil when there is no table. The elements of each set are read when their turn comes, unless have holds them:
// read is then nil.
func diff(have, want *Table, read func(*Set) error) (difference, error) {
	var d difference
	if have == nil {
		have, d.table, d.missing = &Table{Family: want.Family, Name: want.Name}, true, true
	}
	d.table = d.table || have.asleep
	diffCounters(&d, have, want)
	if err := diffSets(&d, have, want, read); err != nil {
		return d, err
	}
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

func diffSets(d *difference, have, want *Table, read func(*Set) error) error {
	was, wanted := byName(have.Sets, Set.name), byName(want.Sets, Set.name)
	for _, s := range want.Sets {
		is := was[s.Name]
		if is == nil {
			d.sets = append(d.sets, s)
			is = &Set{Name: s.Name, Kind: s.Kind}
		} else if read != nil && is.Kind == s.Kind {
			full := *is
			if err := read(&full); err != nil {
				return err
			}
			is = &full
		}
		if is.Kind != s.Kind {
			d.rebuild = true
			continue
		}
		if e := diffElements(is, s); e.flush || len(e.remove)+len(e.add) > 0 {
			d.elements = append(d.elements, e)
		}
	}
	for _, s := range have.Sets {
		if wanted[s.Name] == nil {
			d.straySets = append(d.straySets, s)
		}
	}
	return nil
}

func diffElements(is *Set, want Set) setDifference {
	elements := want.elements()
	e := setDifference{set: want, size: len(elements), flush: is.torn}
	if want.Kind.fleeting() {
		return e
	}
	e.remove = Without(is.Elements, elements)
	if e.add = elements; !e.flush {
		e.add = Without(elements, is.Elements)
	}
	return e
}

// byName finds things by their names.
func byName[T any](all []T, name func(T) string) map[string]*T {
	out := make(map[string]*T, len(all))
	for i := range all {
		out[name(all[i])] = &all[i]
	}
	return out
}

func (s Set) name() string   { return s.Name }
func (c Chain) name() string { return c.Name }

func diffChains(d *difference, have, want *Table) error {
	was, wanted := byName(have.Chains, Chain.name), byName(want.Chains, Chain.name)
	for _, c := range want.Chains {
		is := was[c.Name]
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
		if wanted[c.Name] == nil {
			d.strayChains = append(d.strayChains, c)
		}
	}
	return nil
}

// Without is the elements of a that are not in b.
func Without(a, b []Element) []Element {
	if len(b) == 0 {
		return a
	}
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
