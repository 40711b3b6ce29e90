package policy

// Stats says how much an Index holds, and how much it has compared.
type Stats struct {
	Pods, Classes, Namespaces, Nodes, Policies, Locals int
	Selectors, Sets, Members, Ranges, Chains, Rules    int
	// Evaluations counts how often labels were held against a selector, since the beginning.
	Evaluations uint64
}

// Stats counts what is in use.
func (x *Index) Stats() Stats {
	x.settle()
	s := Stats{
		Pods: len(x.pods), Classes: x.classes, Namespaces: len(x.namespaces), Nodes: len(x.nodes), Policies: len(x.policies),
		Locals: len(x.locals), Selectors: len(x.selectors), Evaluations: x.evaluations,
	}
	for _, set := range x.sets {
		if set.refs > 0 {
			s.Sets++
			s.Members += len(set.members)
			s.Ranges += len(set.ranges)
		}
	}
	for _, chain := range x.chains {
		if chain.refs > 0 {
			s.Chains++
			s.Rules += len(chain.Rules)
		}
	}
	return s
}
