package kube

import (
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/warren-mesh/warren/policy"
)

// World is what is known now, of the pods that keep wants; nil wants all. It is made for one question: with 100,000 pods it takes some 15 MiB.
func (p *Policies) World(keep func(policy.Pod) bool) policy.World {
	w := policy.World{
		Pods: known(p.pods, keep), Namespaces: known(p.namespaces, nil), Nodes: known(p.nodes.heard, nil), Policies: known(p.policies, nil),
	}
	for _, c := range known(p.clusterPolicy, func(c clusterPolicy) bool { return c.read != nil }) {
		w.ClusterPolicies = append(w.ClusterPolicies, c.read)
	}
	return w
}

// Previewed says whether there is a policy that is evaluated and not enforced.
func (p *Policies) Previewed() bool {
	return len(known(p.policies, func(o *networkingv1.NetworkPolicy) bool { return policy.Previewed(o) }))+
		len(known(p.clusterPolicy, func(c clusterPolicy) bool { return c.read != nil && policy.Previewed(c.read) })) > 0
}

// known are the objects of a kind that keep wants; nil wants all.
func known[T any](h *heard[T], keep func(T) bool) []T {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []T
	if keep == nil {
		out = make([]T, 0, len(h.byKey))
	}
	for _, one := range h.byKey {
		if keep == nil || keep(one) {
			out = append(out, one)
		}
	}
	return out
}
