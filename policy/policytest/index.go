package policytest

import (
	"fmt"
	"slices"

	"github.com/warren-mesh/warren/policy"
)

// Interface is the one of a world's pod of that index, where it is on the node.
func Interface(i int) string { return fmt.Sprintf("wrp%012x", i) }

// Fill hands everything of a world to an index.
func Fill(x *policy.Index, w policy.World) {
	for _, set := range Events(x, w) {
		set()
	}
}

// Events hand the parts of a world to an index, in any order.
func Events(x *policy.Index, w policy.World) []func() {
	var events []func()
	for _, n := range w.Namespaces {
		events = append(events, func() { x.SetNamespace(n) })
	}
	for _, n := range w.Nodes {
		events = append(events, func() { x.SetNode(n) })
	}
	for _, p := range w.Pods {
		events = append(events, func() { x.SetPod(p) })
	}
	for _, p := range w.Policies {
		events = append(events, func() { x.SetPolicy(p) })
	}
	for _, p := range w.ClusterPolicies {
		events = append(events, func() { x.SetClusterPolicy(p) })
	}
	return events
}

// Without takes from an index what is in the old world and not in the new one.
func Without(x *policy.Index, before, after policy.World) {
	for _, n := range before.Namespaces {
		if !slices.ContainsFunc(after.Namespaces, func(m policy.Namespace) bool { return m.Name == n.Name }) {
			x.DeleteNamespace(n.Name)
		}
	}
	for _, n := range before.Nodes {
		if !slices.ContainsFunc(after.Nodes, func(m policy.Node) bool { return m.Name == n.Name }) {
			x.DeleteNode(n.Name)
		}
	}
	for _, p := range before.Pods {
		if !slices.ContainsFunc(after.Pods, func(q policy.Pod) bool { return q.PodKey == p.PodKey }) {
			x.DeletePod(p.PodKey)
		}
	}
	in := policyNames(after)
	for _, p := range before.Policies {
		if !in[p.Namespace+"/"+p.Name] {
			x.DeletePolicy(p.Namespace, p.Name)
		}
	}
	for _, p := range before.ClusterPolicies {
		if !in["/"+p.Name] {
			x.DeleteClusterPolicy(p.Name)
		}
	}
}

func policyNames(w policy.World) map[string]bool {
	names := map[string]bool{}
	for _, p := range w.Policies {
		names[p.Namespace+"/"+p.Name] = true
	}
	for _, p := range w.ClusterPolicies {
		names["/"+p.Name] = true
	}
	return names
}
