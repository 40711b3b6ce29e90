package policytest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/policy"
)

// History is what an index is told until the world is as it is at the end: worlds that come and go, of which something comes back, changes or goes.
type History struct {
	Events []Event
	// World and Locals are the end. A local pod's addresses are in both.
	World  policy.World
	Locals []policy.Local
}

// GoString is what happened; what things are like, whoever fails says of the end.
func (h History) GoString() string {
	var all []string
	for _, e := range h.Events {
		all = append(all, e.GoString())
	}
	return strings.Join(all, ", ")
}

// Event is news of one thing: how it is, or that it is gone. News of several things may come in any order.
type Event struct {
	Of   string
	Gone bool
	Tell func(*policy.Index)
}

// GoString is its news in short.
func (e Event) GoString() string {
	if e.Gone {
		return "no " + e.Of
	}
	return e.Of
}

// Tell tells an index all of it.
func Tell(x *policy.Index, events []Event) {
	for _, e := range events {
		e.Tell(x)
	}
}

// Histories draws histories of up to three worlds, of whose pods the first few that are not the host's are on the node.
func Histories(o Options, local int) *rapid.Generator[History] {
	return rapid.Custom(func(t *rapid.T) History {
		var h History
		for range rapid.SampledFrom([]int{1, 2, 3}).Draw(t, "worlds") {
			w := World(o).Draw(t, "world")
			locals := localsOf(w, local)
			events := append(gone(h, w, locals), Events(w)...)
			h.Events = append(h.Events, rapid.Permutation(append(events, localEvents(locals)...)).Draw(t, "order")...)
			h.World, h.Locals = w, locals
		}
		for _, l := range h.Locals {
			i := slices.IndexFunc(h.World.Pods, func(p policy.Pod) bool { return p.PodKey == l.PodKey })
			h.World.Pods[i].Addresses = l.Addresses
		}
		return h
	})
}

// localsOf are the interfaces of pods. What they were given is the pods' before their status says so.
func localsOf(w policy.World, n int) (locals []policy.Local) {
	for i, p := range w.Pods[:min(n, len(w.Pods))] {
		if p.HostNetwork {
			continue
		}
		l := policy.Local{Interface: Interface(i), PodKey: p.PodKey, Addresses: p.Addresses}
		if len(p.Addresses) == 0 {
			l.Addresses = PodAddresses(i)
		}
		locals = append(locals, l)
	}
	return locals
}

func localEvents(locals []policy.Local) (events []Event) {
	for _, l := range locals {
		events = append(events, Event{l.Interface, false, func(x *policy.Index) { x.SetLocal(l) }})
	}
	return events
}

// gone is news of what a history ends with and another end does not have.
func gone(h History, w policy.World, locals []policy.Local) (events []Event) {
	stays := map[string]bool{}
	for _, e := range append(Events(w), localEvents(locals)...) {
		stays[e.Of] = true
	}
	del := func(of string, tell func(*policy.Index)) {
		if !stays[of] {
			events = append(events, Event{of, true, tell})
		}
	}
	for _, n := range h.World.Namespaces {
		del("namespace "+n.Name, func(x *policy.Index) { x.DeleteNamespace(n.Name) })
	}
	for _, n := range h.World.Nodes {
		del("node "+n.Name, func(x *policy.Index) { x.DeleteNode(n.Name) })
	}
	for _, p := range h.World.Pods {
		del("pod "+p.String(), func(x *policy.Index) { x.DeletePod(p.PodKey) })
	}
	for _, p := range h.World.Policies {
		del("policy "+p.Namespace+"/"+p.Name, func(x *policy.Index) { x.DeletePolicy(p.Namespace, p.Name) })
	}
	for _, p := range h.World.ClusterPolicies {
		del("cluster policy "+p.Name, func(x *policy.Index) { x.DeleteClusterPolicy(p.Name) })
	}
	for _, l := range h.Locals {
		del(l.Interface, func(x *policy.Index) { x.DeleteLocal(l.Interface) })
	}
	return events
}

// Events are news of all that is in a world.
func Events(w policy.World) (events []Event) {
	for _, n := range w.Namespaces {
		events = append(events, Event{"namespace " + n.Name, false, func(x *policy.Index) { x.SetNamespace(n) }})
	}
	for _, n := range w.Nodes {
		events = append(events, Event{"node " + n.Name, false, func(x *policy.Index) { x.SetNode(n) }})
	}
	for _, p := range w.Pods {
		events = append(events, Event{"pod " + p.String(), false, func(x *policy.Index) { x.SetPod(p) }})
	}
	for _, p := range w.Policies {
		events = append(events, Event{"policy " + p.Namespace + "/" + p.Name, false, func(x *policy.Index) { x.SetPolicy(p) }})
	}
	for _, p := range w.ClusterPolicies {
		events = append(events, Event{"cluster policy " + p.Name, false, func(x *policy.Index) { x.SetClusterPolicy(p) }})
	}
	return events
}

// AtOnce is the end, told of to one that knows nothing.
func (h History) AtOnce() *policy.Index {
	x := policy.NewIndex()
	Tell(x, append(Events(h.World), localEvents(h.Locals)...))
	return x
}

// Interface is the one of a world's pod of that index, where it is on the node.
func Interface(i int) string { return fmt.Sprintf("wrp%012x", i) }

// PodAddresses are those of a world's pod of that index.
func PodAddresses(i int) []netip.Addr { return addresses("10.0.0.%d", "fd00::%d", i+1) }
