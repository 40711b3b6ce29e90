package policy

import "sigs.k8s.io/network-policy-api/apis/v1alpha2"

// Bound is the part of the ruleset that is for one pod of this node: its bindings, their chains and the sets that these name. It costs what that
// holds, and not what the whole does.
func (x *Index) Bound(k PodKey) Ruleset {
	x.settle()
	r := Ruleset{Sets: map[string]Set{}, Chains: map[string]Chain{}, Pods: map[string]Binding{}}
	for name := range x.localsOf[k] {
		b, ok := x.bindings[name]
		if !ok {
			continue
		}
		r.Pods[name] = b
		for _, title := range []string{b.Ingress, b.Egress, b.Host} {
			for c := x.chains[title]; c != nil; c = c.next {
				r.Chains[c.Name] = c.Chain
				for _, s := range c.sets {
					r.Sets[s.name] = s.copy()
				}
			}
		}
	}
	return r
}

// ClusterPolicy is what holds of a ClusterNetworkPolicy; nil for nothing.
func (x *Index) ClusterPolicy(name string) *v1alpha2.ClusterNetworkPolicy {
	if p := x.policies[policyKey{cluster: true, name: name}]; p != nil {
		return p.clusterPolicy
	}
	return nil
}
