package policy

import (
	"maps"

	"k8s.io/apimachinery/pkg/labels"
)

// nameLabel is on every Namespace, by the API server.
const nameLabel = "kubernetes.io/metadata.name"

// namespace is a Namespace, or one that is known from its pods only.
type namespace struct {
	name    string
	labels  labels.Set
	known   bool
	classes map[string]*class
	scopes  map[*scope]struct{}
}

// SetNamespace adds or changes a namespace.
func (x *Index) SetNamespace(n Namespace) {
	ns := x.namespaceOf(n.Name)
	ns.known = true
	x.relabel(ns, n.Labels)
}

// DeleteNamespace leaves the namespace's pods with nothing but its name.
func (x *Index) DeleteNamespace(name string) {
	ns := x.namespaces[name]
	if ns == nil {
		return
	}
	ns.known = false
	x.relabel(ns, labels.Set{nameLabel: name})
	x.tidyNamespace(ns)
}

// namespaceOf is the one of a name, which may be unknown yet.
func (x *Index) namespaceOf(name string) *namespace {
	if known := x.namespaces[name]; known != nil {
		return known
	}
	made := &namespace{
		name: name, labels: labels.Set{nameLabel: name}, classes: make(map[string]*class), scopes: make(map[*scope]struct{}),
	}
	x.namespaces[name] = made
	if s := x.scopes[selection{namespace: name}.scopeKey()]; s != nil {
		s.join(made)
	}
	for s := range x.labelled.candidates(made.labels) {
		if x.selects(s.selector, made.labels) {
			s.join(made)
		}
	}
	return made
}

// tidyNamespace forgets one that neither the API nor a pod names.
func (x *Index) tidyNamespace(ns *namespace) {
	if ns.known || len(ns.classes) > 0 {
		return
	}
	for s := range ns.scopes {
		s.leave(ns)
	}
	delete(x.namespaces, ns.name)
}

// relabel visits the selectors whose namespaces change, and no others.
func (x *Index) relabel(ns *namespace, to labels.Set) {
	if maps.Equal(ns.labels, to) {
		return
	}
	var in, out []*scope
	for s := range ns.scopes {
		if s.selector != nil && !x.selects(s.selector, to) {
			out = append(out, s)
		}
	}
	for s := range x.labelled.candidates(to) {
		if _, joined := ns.scopes[s]; !joined && x.selects(s.selector, to) {
			in = append(in, s)
		}
	}
	ns.labels = to
	for _, s := range out {
		s.leave(ns)
		x.eachSelected(ns, s, func(sel *selector, c *class) {
			if _, linked := sel.classes[c]; !linked {
				return
			}
			delete(sel.classes, c)
			delete(c.selectors, sel)
			for p := range c.pods {
				sel.remove(&p.owner)
			}
		})
	}
	for _, s := range in {
		s.join(ns)
		x.eachSelected(ns, s, func(sel *selector, c *class) {
			if !x.link(sel, c) {
				return
			}
			for p := range c.pods {
				sel.add(&p.owner)
			}
		})
	}
	for _, c := range ns.classes {
		if len(c.locals) > 0 {
			x.enlist(c)
		}
	}
}

// eachSelected goes through the pairs of a scope's selectors and a namespace's classes that could match.
func (x *Index) eachSelected(ns *namespace, s *scope, do func(*selector, *class)) {
	if len(s.selectors.places) == 0 {
		return
	}
	for _, c := range ns.classes {
		for sel := range s.selectors.candidates(c.labels) {
			do(sel, c)
		}
	}
}
