package policy

import (
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// World is all that policy looks at, in plain lists. It judges by walking all of them, straight from the specification's texts: slowly,
// and sharing nothing with the compiler that it is held against.
type World struct {
	Pods            []Pod
	Namespaces      []Namespace
	Nodes           []Node
	Policies        []*networkingv1.NetworkPolicy
	ClusterPolicies []*v1alpha2.ClusterNetworkPolicy
}

// undecided is the RuleID of what no rule decided.
var undecided = RuleID{Rule: -1}

// Judge says whether a packet may pass in one direction of the subject, and by which rule: that of what is forwarded from or to the
// subject, or, with host, of what passes between it and its own node. A subject that is not in the world passes nothing.
func (w World) Judge(subject PodKey, d Direction, p Packet, host bool) (allowed bool, by RuleID) {
	pod, known := w.pod(subject)
	switch {
	case !known:
		return false, undecided
	case pod.HostNetwork:
		return true, undecided
	case pod.has(p.From) && pod.has(p.To):
		return true, undecided
	case host && d == Ingress:
		return true, undecided
	}
	q := question{world: w, subject: pod, direction: d, packet: p}
	verdict, by := q.clusterTier(AdminTier)
	if verdict == Accept || verdict == Deny {
		return verdict == Accept, by
	}
	switch isolated, allowed, by := q.networkPolicyTier(); {
	case isolated && host: // under NetworkPolicy always allowed, and NetworkPolicy ends the walk
		return true, undecided
	case isolated:
		return allowed, by
	}
	verdict, by = q.clusterTier(BaselineTier)
	if verdict == Accept || verdict == Deny {
		return verdict == Accept, by
	}
	return true, undecided
}

// question is what is asked of a world: may the packet pass in this direction of the subject?
type question struct {
	world     World
	subject   Pod
	direction Direction
	packet    Packet
}

// peer is the address of the other end.
func (q question) peer() netip.Addr {
	if q.direction == Egress {
		return q.packet.To
	}
	return q.packet.From
}

func (w World) pod(key PodKey) (Pod, bool) {
	for _, p := range w.Pods {
		if p.PodKey == key {
			return p, true
		}
	}
	return Pod{}, false
}

// podsAt are the pods that an address stands for: usually one, for an instant two. Those of the host's network have none of their own.
func (w World) podsAt(a netip.Addr) []Pod {
	var found []Pod
	for _, p := range w.Pods {
		if !p.HostNetwork && p.has(a) {
			found = append(found, p)
		}
	}
	return found
}

func (p Pod) has(a netip.Addr) bool { return slices.Contains(p.Addresses, a) }

// namespaceLabels of a namespace that is not known yet are those that the API server gives to each.
func (w World) namespaceLabels(name string) map[string]string {
	for _, n := range w.Namespaces {
		if n.Name == name {
			return n.Labels
		}
	}
	return map[string]string{"kubernetes.io/metadata.name": name}
}
