package policy

import (
	"cmp"
	"slices"
)

// Problem is a part of a policy that cannot be honoured as it is written.
type Problem struct {
	// Kind is NetworkPolicy or ClusterNetworkPolicy, whose Namespace is empty.
	Kind, Namespace, Policy string
	// Field is the path of what is wrong, such as spec.ingress[0].from[1].ipBlock.cidr.
	Field string
	// Detail names the value, what would be right, and what is done instead.
	Detail string
}

// Problems are those of all policies, ordered.
func (x *Index) Problems() []Problem {
	var all []Problem
	for p := range x.troubled {
		all = append(all, p.problems...)
	}
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Policy, b.Policy))
	})
	return all
}
