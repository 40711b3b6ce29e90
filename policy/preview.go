package policy

import (
	"cmp"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// StageAnnotation says of a policy at which stage it is. One at StagePreview is evaluated and not enforced.
const (
	StageAnnotation = "warren.dev/stage"
	StagePreview    = "preview"
)

// Previewed says that a policy is not enforced.
func Previewed(policy metav1.Object) bool {
	return policy.GetAnnotations()[StageAnnotation] == StagePreview
}

// Connection is one in the direction in which it began, after DNAT.
type Connection struct {
	Packet
	// Host says that it is between a pod and the pod's own node.
	Host bool
	// FromPort is the source's, which no policy looks at; zero where the protocol has none.
	FromPort uint16
}

// judged is the part of a connection that policies look at.
func (c Connection) judged() Connection {
	c.FromPort = 0
	return c
}

// Preview is what a policy that is not enforced would do if it alone were.
type Preview struct {
	// Namespace is empty for ClusterNetworkPolicies.
	Namespace, Policy string
	// Cuts are the flows that are allowed at present and would not be any more, in their order; twice where both ends would forbid them.
	Cuts []Cut
}

// Cut is a flow that would be forbidden, and by which rule at which pod.
type Cut struct {
	Connection
	Direction Direction
	Pod       PodKey
	By        RuleID
}

// Preview says of each policy at the preview stage which flows it would cut: of NetworkPolicies by namespace and name, then of
// ClusterNetworkPolicies by name.
func (w World) Preview(flows []Connection) []Preview {
	w = w.about(flows)
	forbidden := map[Connection]bool{}
	for _, c := range w.cuts(flows) {
		forbidden[c.Connection] = true
	}
	flows = only(flows, func(f Connection) bool { return !forbidden[f] })
	var namespaced, cluster []Preview
	for i, p := range w.Policies {
		if Previewed(p) {
			enforced := w
			enforced.Policies = slices.Clone(w.Policies)
			enforced.Policies[i] = &networkingv1.NetworkPolicy{ObjectMeta: withoutStage(p.ObjectMeta), Spec: p.Spec}
			namespaced = append(namespaced, Preview{Namespace: p.Namespace, Policy: p.Name, Cuts: enforced.cuts(flows)})
		}
	}
	for i, p := range w.ClusterPolicies {
		if Previewed(p) {
			enforced := w
			enforced.ClusterPolicies = slices.Clone(w.ClusterPolicies)
			enforced.ClusterPolicies[i] = &v1alpha2.ClusterNetworkPolicy{ObjectMeta: withoutStage(p.ObjectMeta), Spec: p.Spec}
			cluster = append(cluster, Preview{Policy: p.Name, Cuts: enforced.cuts(flows)})
		}
	}
	byName := func(a, b Preview) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Policy, b.Policy))
	}
	slices.SortFunc(namespaced, byName)
	slices.SortFunc(cluster, byName)
	return slices.Concat(namespaced, cluster)
}

func withoutStage(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name}
}

// about leaves only the pods that flows are from or to.
func (w World) about(flows []Connection) World {
	ends := make(map[netip.Addr]bool, len(flows))
	for _, f := range flows {
		ends[f.From], ends[f.To] = true, true
	}
	return w.at(ends)
}

// at leaves only the pods that have one of the addresses, and what is said of those. No others say anything of what is between the addresses, and
// there may be many.
func (w World) at(ends map[netip.Addr]bool) World {
	namespaces := map[string]bool{}
	var pods []Pod
	for _, p := range w.Pods {
		if slices.ContainsFunc(p.Addresses, func(a netip.Addr) bool { return ends[a] }) {
			pods, namespaces[p.Namespace] = append(pods, p), true
		}
	}
	w.Pods = pods
	w.Namespaces = only(w.Namespaces, func(n Namespace) bool { return namespaces[n.Name] })
	w.Policies = only(w.Policies, func(p *networkingv1.NetworkPolicy) bool { return namespaces[p.Namespace] || Previewed(p) })
	return w
}

func addresses(lists ...[]netip.Addr) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, list := range lists {
		for _, a := range list {
			all[a] = true
		}
	}
	return all
}

// only are those of a list, in a list of its own.
func only[T any](all []T, these func(T) bool) (out []T) {
	for _, one := range all {
		if these(one) {
			out = append(out, one)
		}
	}
	return out
}

// cuts are what the world forbids of flows. Flows that differ by their source's port only are judged once.
func (w World) cuts(flows []Connection) []Cut {
	var cuts []Cut
	judged := map[Connection][]Cut{}
	for _, f := range flows {
		found, known := judged[f.judged()]
		if !known {
			found = w.forbidden(f.judged())
			judged[f.judged()] = found
		}
		for _, cut := range found {
			cut.Connection = f
			cuts = append(cuts, cut)
		}
	}
	return cuts
}

// forbidden says at which ends a flow is forbidden, and by what.
func (w World) forbidden(f Connection) []Cut {
	var cuts []Cut
	for _, end := range []struct {
		direction Direction
		pods      []Pod
	}{{Egress, w.podsAt(f.From)}, {Ingress, w.podsAt(f.To)}} {
		for _, pod := range end.pods {
			if allowed, by := w.Judge(pod.PodKey, end.direction, f.Packet, f.Host); !allowed {
				cuts = append(cuts, Cut{Connection: f, Direction: end.direction, Pod: pod.PodKey, By: by})
			}
		}
	}
	return cuts
}
