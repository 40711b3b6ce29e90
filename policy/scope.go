package policy

import "k8s.io/apimachinery/pkg/labels"

// scope is the namespaces that selectors and policies look into: one by its name, or those with some labels. Who has the same
// scope shares it, so that a namespace's labels are compared once.
type scope struct {
	key        string
	selector   labels.Selector // nil for a namespace by its name
	anchor     anchor
	refs       int
	namespaces map[*namespace]struct{}
	selectors  anchored[*selector]
	subjects   anchored[*policy]
}

// scopeOf is that of a selection. Who uses it counts itself in refs.
func (x *Index) scopeOf(s selection) *scope {
	key := s.scopeKey()
	if known := x.scopes[key]; known != nil {
		return known
	}
	made := &scope{key: key, selector: s.namespaces, namespaces: make(map[*namespace]struct{})}
	x.scopes[key] = made
	if made.selector == nil {
		if ns := x.namespaces[s.namespace]; ns != nil {
			made.join(ns)
		}
		return made
	}
	made.anchor = anchorOf(made.selector)
	x.labelled.add(made.anchor, made)
	for _, ns := range x.namespaces {
		if x.selects(made.selector, ns.labels) {
			made.join(ns)
		}
	}
	return made
}

func (s *scope) join(ns *namespace) { s.namespaces[ns], ns.scopes[s] = struct{}{}, struct{}{} }

func (s *scope) leave(ns *namespace) {
	delete(s.namespaces, ns)
	delete(ns.scopes, s)
}

// releaseScope forgets a scope that nobody else uses.
func (x *Index) releaseScope(s *scope) {
	if s.refs--; s.refs > 0 {
		return
	}
	for ns := range s.namespaces {
		s.leave(ns)
	}
	if s.selector != nil {
		x.labelled.remove(s.anchor, s)
	}
	delete(x.scopes, s.key)
}
