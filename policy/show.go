package policy

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// Shown are the policies of a pod, in the order of the walk.
type Shown struct {
	Pod Pod
	// Ingress and Egress are those that are about each direction.
	Ingress, Egress []Applied
}

// Applied is a policy that is about a direction of a pod.
type Applied struct {
	Tier Tier
	// Namespace is empty for ClusterNetworkPolicies.
	Namespace, Policy string
	// Priority is a ClusterNetworkPolicy's.
	Priority int32
	// Previewed says that it is not enforced, and Unreached that a NetworkPolicy ends the walk before it.
	Previewed, Unreached bool
	// Rules are in words, in their order.
	Rules []string
}

// Show are the policies that are about a pod, which has to be there.
func (w World) Show(k PodKey) (Shown, error) {
	pod, known := w.pod(k)
	if !known {
		return Shown{}, fmt.Errorf("%s: want a pod that is there", k)
	}
	s := Shown{Pod: pod}
	if !pod.HostNetwork {
		s.Ingress, s.Egress = w.applied(pod, Ingress), w.applied(pod, Egress)
	}
	return s, nil
}

// applied are the policies of one direction, previewed ones among them.
func (w World) applied(pod Pod, d Direction) []Applied {
	isolated := len((question{world: w, subject: pod, direction: d}).isolating()) > 0
	all := w.enforced()
	q := question{world: all.World, subject: pod, direction: d}
	var out []Applied
	for _, t := range []Tier{AdminTier, NetworkPolicyTier, BaselineTier} {
		if t == NetworkPolicyTier {
			for _, p := range q.isolating() {
				out = append(out, Applied{
					Tier: t, Namespace: p.Namespace, Policy: p.Name, Previewed: all.previewed[p], Rules: networkPolicyWords(p, d),
				})
			}
			continue
		}
		for _, p := range q.world.clusterPolicies(t) {
			if q.clusterSubject(p.Spec.Subject) == isNot || len(clusterRules(p, d)) == 0 {
				continue
			}
			out = append(out, Applied{
				Tier: t, Policy: p.Name, Priority: p.Spec.Priority, Previewed: all.previewed[p],
				Unreached: isolated && t == BaselineTier, Rules: clusterPolicyWords(p, d),
			})
		}
	}
	return out
}

// String is what `warren policy show` prints.
func (s Shown) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", s.Pod.PodKey, orNone(texts(s.Pod.Addresses), "no address yet"))
	if s.Pod.HostNetwork {
		b.WriteString("  it uses its node's network, where no policy applies\n")
		return b.String()
	}
	for _, side := range []struct {
		direction Direction
		applied   []Applied
	}{{Ingress, s.Ingress}, {Egress, s.Egress}} {
		fmt.Fprintf(&b, "%s:\n", side.direction)
		for _, a := range side.applied {
			b.WriteString(a.String())
		}
		b.WriteString("  everything else: " + rest(side.applied) + "\n")
	}
	return b.String()
}

// String is the policy and its rules, a line each.
func (a Applied) String() string {
	var b strings.Builder
	if a.Namespace != "" {
		fmt.Fprintf(&b, "  NetworkPolicy %s/%s", a.Namespace, a.Policy)
	} else {
		fmt.Fprintf(&b, "  ClusterNetworkPolicy %s in tier %s with priority %d", a.Policy, a.Tier, a.Priority)
	}
	if a.Previewed {
		b.WriteString(", previewed: not enforced")
	}
	if a.Unreached {
		b.WriteString(", not reached: NetworkPolicy decides before it")
	}
	b.WriteString("\n")
	for i, r := range a.Rules {
		fmt.Fprintf(&b, "    [%d] %s\n", i, r)
	}
	if len(a.Rules) == 0 {
		b.WriteString("    no rules\n")
	}
	return b.String()
}

// rest is what becomes of what no rule matches.
func rest(applied []Applied) string {
	isolates := func(a Applied) bool { return a.Tier == NetworkPolicyTier && !a.Previewed }
	if slices.ContainsFunc(applied, isolates) {
		return "denied, because NetworkPolicy isolates it"
	}
	return "allowed"
}

// unstaged is a world in which previewed policies are enforced, and which those are.
type unstaged struct {
	World
	previewed map[any]bool
}

func (w World) enforced() unstaged {
	u := unstaged{World: w, previewed: map[any]bool{}}
	u.Policies, u.ClusterPolicies = slices.Clone(w.Policies), slices.Clone(w.ClusterPolicies)
	for i, p := range w.Policies {
		if Previewed(p) {
			u.Policies[i] = &networkingv1.NetworkPolicy{ObjectMeta: withoutStage(p.ObjectMeta), Spec: p.Spec}
			u.previewed[u.Policies[i]] = true
		}
	}
	for i, p := range w.ClusterPolicies {
		if Previewed(p) {
			u.ClusterPolicies[i] = &v1alpha2.ClusterNetworkPolicy{ObjectMeta: withoutStage(p.ObjectMeta), Spec: p.Spec}
			u.previewed[u.ClusterPolicies[i]] = true
		}
	}
	return u
}
