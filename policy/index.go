package policy

import (
	"maps"
	"slices"
)

// Index keeps the Ruleset of one node's pods, from pods, namespaces, nodes and policies that come, change and go in any order. It is
// not safe for concurrent use. What it is handed it keeps: nobody changes it afterwards.
type Index struct {
	pods       map[PodKey]*pod
	namespaces map[string]*namespace
	nodes      map[string]*node
	policies   map[policyKey]*policy
	troubled   map[*policy]struct{} // those with problems
	serial     uint64               // the last policy's

	locals   map[string]Local
	localsOf map[PodKey]map[string]struct{}

	// scopes are by key, and labelled finds those that select namespaces by labels.
	scopes        map[string]*scope
	labelled      anchored[*scope]
	selectors     map[string]*selector
	nodeSelectors map[*selector]struct{}
	// classes counts them, and classesAt finds those of a label.
	classes      int
	classesAt    anchored[*class]
	localClasses map[*class]struct{}
	evaluations  uint64

	sets     map[string]*set
	chains   map[string]*chain
	bundles  map[string]*bundle
	bindings map[string]Binding

	// staleClasses and staleLocals have to be bound anew before anybody looks.
	staleClasses map[*class]struct{}
	staleLocals  map[string]struct{}

	// What follows has changed since the last Take. The bindings are those that were there then.
	dirtySets    map[*set]struct{}
	dirtyChains  map[*chain]struct{}
	bindingsThen map[string]*Binding
}

// NewIndex is of a node without pods, in a cluster of which nothing is known.
func NewIndex() *Index {
	return &Index{
		pods: make(map[PodKey]*pod), namespaces: make(map[string]*namespace), nodes: make(map[string]*node),
		policies: make(map[policyKey]*policy), troubled: make(map[*policy]struct{}),
		locals: make(map[string]Local), localsOf: make(map[PodKey]map[string]struct{}),
		scopes: make(map[string]*scope), selectors: make(map[string]*selector), nodeSelectors: make(map[*selector]struct{}),
		localClasses: make(map[*class]struct{}),
		sets:         make(map[string]*set), chains: make(map[string]*chain), bundles: make(map[string]*bundle), bindings: make(map[string]Binding),
		staleClasses: make(map[*class]struct{}), staleLocals: make(map[string]struct{}),
		dirtySets: make(map[*set]struct{}), dirtyChains: make(map[*chain]struct{}), bindingsThen: make(map[string]*Binding),
	}
}

// settle binds anew what has to be.
func (x *Index) settle() {
	for c := range x.staleClasses {
		x.bind(c)
	}
	for name := range x.staleLocals {
		old, was := x.bindings[name]
		if _, noted := x.bindingsThen[name]; !noted {
			x.bindingsThen[name] = nil
			if was {
				x.bindingsThen[name] = &old
			}
		}
		delete(x.bindings, name)
		if b, ok := x.binding(name); ok {
			x.bindings[name] = b
		}
	}
	clear(x.staleClasses)
	clear(x.staleLocals)
}

// Ruleset is the whole: a copy that nobody changes.
func (x *Index) Ruleset() Ruleset {
	x.settle()
	r := Ruleset{Sets: make(map[string]Set), Chains: make(map[string]Chain), Pods: maps.Clone(x.bindings)}
	for name, s := range x.sets {
		if s.refs > 0 {
			r.Sets[name] = s.copy()
		}
	}
	for name, c := range x.chains {
		if c.refs > 0 {
			r.Chains[name] = c.Chain
		}
	}
	return r
}

func (s *set) copy() Set {
	return Set{Name: s.name, Kind: s.kind, Members: maps.Clone(s.members), Ranges: s.ranges}
}

func (b Binding) equal(c Binding) bool {
	return b.Interface == c.Interface && b.PodKey == c.PodKey && slices.Equal(b.Addresses, c.Addresses) && b.Ingress == c.Ingress &&
		b.Egress == c.Egress && b.Host == c.Host
}
