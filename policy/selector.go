package policy

import (
	"iter"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// population is what a selection is of.
type population uint8

const (
	ofPods population = iota
	ofNodes
	// ofLocals are the pods of this node, those whose Pod is gone but whose interface is not among them.
	ofLocals
)

func (p population) String() string { return [...]string{"pods", "nodes", "locals"}[p] }

// selection says whom a peer means. Two that mean the same in the same words are one, by their key.
type selection struct {
	of population
	// namespace is the only one, or namespaces selects among all.
	namespace  string
	namespaces labels.Selector
	// labels select pods or nodes.
	labels labels.Selector
}

var (
	everyPod   = selection{namespaces: labels.Everything(), labels: labels.Everything()}
	everyLocal = selection{of: ofLocals}
)

func (s selection) key() string {
	if s.of == ofLocals {
		return ""
	}
	return s.scopeKey() + "\x00" + canonical(s.labels)
}

// scopeKey tells a namespace from a selector, which never begins with a slash.
func (s selection) scopeKey() string {
	if s.namespaces == nil {
		return "/" + s.namespace
	}
	return canonical(s.namespaces)
}

// canonical is the same for the same requirements in any order.
func canonical(s labels.Selector) string {
	requirements, _ := s.Requirements()
	words := make([]string, len(requirements))
	for i, r := range requirements {
		words[i] = r.String()
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ",")
}

// parseSelector is nil where there is none.
func parseSelector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // none is no error
	}
	return metav1.LabelSelectorAsSelector(s)
}

// selector is a selection that some set is made of, and what it selects at present.
type selector struct {
	selection
	key    string
	anchor anchor
	scope  *scope // of pods only
	// sets are those made of it: the addresses of its members, and their ports by name.
	sets    map[*set]struct{}
	classes map[*class]struct{}
	nodes   map[*node]struct{}
}

// add and remove bring a member into all sets, and take it out.
func (s *selector) add(o *owner) {
	for t := range s.sets {
		t.add(o)
	}
}

func (s *selector) remove(o *owner) {
	for t := range s.sets {
		t.remove(o)
	}
}

// members are those of a selector at present.
func (x *Index) members(s *selector) iter.Seq[*owner] {
	return func(yield func(*owner) bool) {
		for c := range s.classes {
			for p := range c.pods {
				if !yield(&p.owner) {
					return
				}
			}
		}
		for n := range s.nodes {
			if !yield(&n.owner) {
				return
			}
		}
		if s.of != ofLocals {
			return
		}
		for key := range x.localsOf {
			if p := x.pods[key]; p != nil && p.class != nil && !yield(&p.owner) {
				return
			}
		}
	}
}

// selectorOf is the one for a selection, evaluated where it is new.
func (x *Index) selectorOf(s selection) *selector {
	key := s.of.String() + "\x00" + s.key()
	if known := x.selectors[key]; known != nil {
		return known
	}
	made := &selector{selection: s, key: key, sets: make(map[*set]struct{})}
	x.selectors[key] = made
	switch s.of {
	case ofLocals:
	case ofNodes:
		made.nodes = make(map[*node]struct{})
		for _, n := range x.nodes {
			if x.selects(made.labels, n.labels) {
				made.nodes[n] = struct{}{}
			}
		}
		x.nodeSelectors[made] = struct{}{}
	case ofPods:
		made.anchor, made.scope = anchorOf(s.labels), x.scopeOf(s)
		made.classes = make(map[*class]struct{})
		made.scope.selectors.add(made.anchor, made)
		made.scope.refs++
		for c := range x.classesFor(made) {
			x.link(made, c)
		}
	}
	return made
}

// classesFor are those that a selector could match: those in its namespaces, or those with the label that it asks for if these are fewer.
func (x *Index) classesFor(s *selector) iter.Seq[*class] {
	there, labelled := 0, 0
	for ns := range s.scope.namespaces {
		there += len(ns.classes)
	}
	for _, p := range s.anchor.places() {
		labelled += len(x.classesAt.places[p])
	}
	return func(yield func(*class) bool) {
		if len(s.anchor.values) == 0 || there <= labelled {
			for ns := range s.scope.namespaces {
				for _, c := range ns.classes {
					if !yield(c) {
						return
					}
				}
			}
			return
		}
		for _, p := range s.anchor.places() {
			for c := range x.classesAt.places[p] {
				if _, in := s.scope.namespaces[c.namespace]; in && !yield(c) {
					return
				}
			}
		}
	}
}

// link ties a selector to a class that it selects. The class's pods are not yet in the selector's sets.
func (x *Index) link(s *selector, c *class) bool {
	if !x.selects(s.labels, c.labels) {
		return false
	}
	s.classes[c], c.selectors[s] = struct{}{}, struct{}{}
	return true
}

// dropSelector forgets one that no set is made of.
func (x *Index) dropSelector(s *selector) {
	delete(x.selectors, s.key)
	delete(x.nodeSelectors, s)
	if s.scope == nil {
		return
	}
	for c := range s.classes {
		delete(c.selectors, s)
	}
	s.scope.selectors.remove(s.anchor, s)
	x.releaseScope(s.scope)
}

// selects counts: evaluations are what an event should cost few of.
func (x *Index) selects(s labels.Selector, l labels.Set) bool {
	x.evaluations++
	return s.Matches(l)
}
