package policy

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
)

// class is the pods of one namespace that have equal labels. No policy can tell them apart, but for their addresses and ports.
type class struct {
	namespace *namespace
	key       string
	labels    labels.Set
	// pods are those that the API has, and locals those that have an interface here, or will have one.
	pods, locals map[*pod]struct{}
	selectors    map[*selector]struct{}
	// policies and bundle are what applies to its local pods; without those it has none.
	policies map[*policy]struct{}
	bundle   *bundle
}

// classOf is the one of labels in a namespace, with what selects it where it is new.
func (x *Index) classOf(namespace string, l map[string]string) *class {
	ns := x.namespaceOf(namespace)
	key := classKey(l)
	if known := ns.classes[key]; known != nil {
		return known
	}
	made := &class{
		namespace: ns, key: key, labels: l, pods: make(map[*pod]struct{}), locals: make(map[*pod]struct{}),
		selectors: make(map[*selector]struct{}),
	}
	ns.classes[key] = made
	x.classes++
	for key, value := range made.labels {
		x.classesAt.add(anchor{key, []string{value}}, made)
	}
	for s := range ns.scopes {
		for sel := range s.selectors.candidates(made.labels) {
			x.link(sel, made)
		}
	}
	return made
}

func classKey(l map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(l)) {
		b.WriteString(k + "\x00" + l[k] + "\x00")
	}
	return b.String()
}

// tidyClass forgets one that has no pods.
func (x *Index) tidyClass(c *class) {
	if c == nil || len(c.pods)+len(c.locals) > 0 {
		return
	}
	for s := range c.selectors {
		delete(s.classes, c)
	}
	delete(c.namespace.classes, c.key)
	x.classes--
	for key, value := range c.labels {
		x.classesAt.remove(anchor{key, []string{value}}, c)
	}
	x.tidyNamespace(c.namespace)
}

// enlist finds the policies that apply to a class of local pods.
func (x *Index) enlist(c *class) {
	x.localClasses[c] = struct{}{}
	found := make(map[*policy]struct{})
	for s := range c.namespace.scopes {
		for p := range s.subjects.candidates(c.labels) {
			if x.selects(p.subject.labels, c.labels) {
				found[p] = struct{}{}
			}
		}
	}
	for p := range c.policies {
		if _, still := found[p]; !still {
			delete(p.classes, c)
		}
	}
	for p := range found {
		p.classes[c] = struct{}{}
	}
	c.policies = found
	x.staleClasses[c] = struct{}{}
}

// discharge is for a class without local pods any more.
func (x *Index) discharge(c *class) {
	if _, was := x.localClasses[c]; !was {
		return
	}
	delete(x.localClasses, c)
	delete(x.staleClasses, c)
	for p := range c.policies {
		delete(p.classes, c)
	}
	c.policies = nil
	x.releaseBundle(c.bundle)
	c.bundle = nil
}
