package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
)

// recipe is what a set is made of: a selection's addresses, its ports by a name, or ranges.
type recipe struct {
	kind SetKind
	of   selection
	port string
	// ranges are merged.
	ranges []Range
}

func (r recipe) name() string {
	switch r.kind {
	case Ranges4, Ranges6:
		var words []byte
		for _, one := range r.ranges {
			words = append(append(words, one.First.AsSlice()...), one.Last.AsSlice()...)
		}
		return "nets" + r.kind.family() + "-" + digest(words)
	case Ports4, Ports6:
		return "ports" + r.kind.family() + "-" + digest([]byte(r.of.of.String()+"\x00"+r.of.key()+"\x00"+r.port))
	case Addresses4, Addresses6:
	}
	return r.of.of.String() + r.kind.family() + "-" + digest([]byte(r.of.key()))
}

// digest is long enough that nobody finds two that are equal.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}

func (k SetKind) family() string {
	if k == Addresses6 || k == Ports6 || k == Ranges6 {
		return "6"
	}
	return "4"
}

// set is a Set under change. Two owners may briefly have one address, so members are counted.
type set struct {
	recipe
	name     string
	selector *selector // nil for ranges
	members  map[Member]struct{}
	// more counts the owners of a member beyond the first.
	more map[Member]int
	// refs counts the chains in use that name it.
	refs int
	// published says that the last Take knew it, and was whether it held what was touched since.
	published bool
	was       map[Member]bool
	dirty     map[*set]struct{} // the index's
}

// setOf is the one of a recipe, filled where it is new.
func (x *Index) setOf(name string, r recipe) *set {
	if known := x.sets[name]; known != nil {
		return known
	}
	made := &set{recipe: r, name: name, dirty: x.dirtySets}
	x.sets[name] = made
	x.dirtySets[made] = struct{}{}
	if r.ranges != nil {
		return made
	}
	made.members, made.more = make(map[Member]struct{}), make(map[Member]int)
	made.selector = x.selectorOf(r.of)
	made.selector.sets[made] = struct{}{}
	for o := range x.members(made.selector) {
		made.add(o)
	}
	return made
}

// dropSet forgets one that no chain names.
func (x *Index) dropSet(s *set) {
	delete(x.sets, s.name)
	if s.selector == nil {
		return
	}
	delete(s.selector.sets, s)
	if len(s.selector.sets) == 0 {
		x.dropSelector(s.selector)
	}
}

// each are the members that an owner brings.
func (s *set) each(o *owner, do func(Member)) {
	ipv6 := s.kind.family() == "6"
	for _, a := range o.addresses {
		switch {
		case !a.IsValid() || a.Is6() != ipv6:
		case s.port == "":
			do(Member{Address: a})
		default:
			s.eachPort(a, o.ports, do)
		}
	}
}

// eachPort is once for each port, however many containers have it.
func (s *set) eachPort(a netip.Addr, ports []NamedPort, do func(Member)) {
	for i, p := range ports {
		if p.Name == s.port && !slices.Contains(ports[:i], p) {
			do(Member{a, p.Protocol, p.Port})
		}
	}
}

func (s *set) add(o *owner) {
	s.each(o, func(m Member) {
		if _, known := s.members[m]; known {
			s.more[m]++
			return
		}
		s.touch(m, false)
		s.members[m] = struct{}{}
	})
}

func (s *set) remove(o *owner) {
	s.each(o, func(m Member) {
		if s.more[m] > 0 {
			if s.more[m]--; s.more[m] == 0 {
				delete(s.more, m)
			}
			return
		}
		s.touch(m, true)
		delete(s.members, m)
	})
}

// touch remembers what the last Take knew of a member. Of what it did not know there is nothing to remember.
func (s *set) touch(m Member, was bool) {
	if !s.published {
		return
	}
	if s.was == nil {
		s.was = make(map[Member]bool)
	}
	if _, touched := s.was[m]; !touched {
		s.was[m] = was
	}
	s.dirty[s] = struct{}{}
}

// changes are the members that came and went since the last Take, ordered.
func (s *set) changes() (added, removed []Member) {
	for m, was := range s.was {
		switch _, is := s.members[m]; {
		case is && !was:
			added = append(added, m)
		case was && !is:
			removed = append(removed, m)
		}
	}
	slices.SortFunc(added, Member.compare)
	slices.SortFunc(removed, Member.compare)
	return added, removed
}
