package policy

import (
	"cmp"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// policyKey names a policy.
type policyKey struct {
	cluster         bool
	namespace, name string
}

// policy is a NetworkPolicy or a ClusterNetworkPolicy.
type policy struct {
	policyKey
	// serial is of this object only: one that was changed is another.
	serial   uint64
	tier     Tier
	priority int32
	// One of them is there.
	networkPolicy *networkingv1.NetworkPolicy
	clusterPolicy *v1alpha2.ClusterNetworkPolicy
	// subject is whom it applies to; sure says of a ClusterNetworkPolicy that it and the tier could be read.
	subject selection
	sure    bool
	scope   *scope
	anchor  anchor
	// classes are those of local pods that it applies to.
	classes  map[*class]struct{}
	problems []Problem
	// program is there while uses, the bundles that it is in, are.
	program *program
	uses    int
}

// SetPolicy adds or changes a NetworkPolicy, which nobody changes any more. One that is only previewed is as if it were not there.
func (x *Index) SetPolicy(p *networkingv1.NetworkPolicy) {
	key := policyKey{namespace: p.Namespace, name: p.Name}
	if Previewed(p) {
		x.removePolicy(key)
		return
	}
	if old := x.policies[key]; old != nil && equality.Semantic.DeepEqual(old.networkPolicy.Spec, p.Spec) {
		return
	}
	x.removePolicy(key)
	made := &policy{policyKey: key, tier: NetworkPolicyTier, networkPolicy: p}
	c := &compiler{about: made.about()}
	made.subject = c.subjectOf(p)
	c.networkPolicy(p)
	x.addPolicy(made, c)
}

// DeletePolicy forgets a NetworkPolicy.
func (x *Index) DeletePolicy(namespace, name string) {
	x.removePolicy(policyKey{namespace: namespace, name: name})
}

// SetClusterPolicy adds or changes a ClusterNetworkPolicy, which nobody changes any more. One that is only previewed is as if it were
// not there.
func (x *Index) SetClusterPolicy(p *v1alpha2.ClusterNetworkPolicy) {
	key := policyKey{cluster: true, name: p.Name}
	if Previewed(p) {
		x.removePolicy(key)
		return
	}
	if old := x.policies[key]; old != nil && equality.Semantic.DeepEqual(old.clusterPolicy.Spec, p.Spec) {
		return
	}
	x.removePolicy(key)
	made := &policy{policyKey: key, priority: p.Spec.Priority, clusterPolicy: p}
	c := &compiler{about: made.about()}
	var known, sure bool
	made.tier, known = c.tierOf(p.Spec.Tier)
	made.subject, sure = c.clusterSubjectOf(p.Spec.Subject)
	made.sure = known && sure
	c.clusterPolicy(p, made.tier, made.sure)
	x.addPolicy(made, c)
}

// DeleteClusterPolicy forgets a ClusterNetworkPolicy.
func (x *Index) DeleteClusterPolicy(name string) {
	x.removePolicy(policyKey{cluster: true, name: name})
}

func (p *policy) about() Problem {
	if p.cluster {
		return Problem{Kind: "ClusterNetworkPolicy", Policy: p.name}
	}
	return Problem{Kind: "NetworkPolicy", Namespace: p.namespace, Policy: p.name}
}

// compile makes the policy's program.
func (p *policy) compile() *compiler {
	c := &compiler{about: p.about()}
	if p.cluster {
		c.clusterPolicy(p.clusterPolicy, p.tier, p.sure)
	} else {
		c.networkPolicy(p.networkPolicy)
	}
	return c
}

// addPolicy finds the local pods that a policy applies to. Where there are none, as for most policies, its program is not kept.
func (x *Index) addPolicy(p *policy, c *compiler) {
	x.serial++
	p.serial, p.classes = x.serial, make(map[*class]struct{})
	if p.problems = c.problems; len(p.problems) > 0 {
		x.troubled[p] = struct{}{}
	}
	x.policies[p.policyKey] = p
	p.scope, p.anchor = x.scopeOf(p.subject), anchorOf(p.subject.labels)
	p.scope.refs++
	p.scope.subjects.add(p.anchor, p)
	for local := range x.localClasses {
		if _, in := local.namespace.scopes[p.scope]; in && x.selects(p.subject.labels, local.labels) {
			local.policies[p], p.classes[local] = struct{}{}, struct{}{}
			x.staleClasses[local] = struct{}{}
			p.program = &c.program
		}
	}
}

func (x *Index) removePolicy(k policyKey) {
	p := x.policies[k]
	if p == nil {
		return
	}
	delete(x.policies, k)
	delete(x.troubled, p)
	for c := range p.classes {
		delete(c.policies, p)
		x.staleClasses[c] = struct{}{}
	}
	p.scope.subjects.remove(p.anchor, p)
	x.releaseScope(p.scope)
}

// compare is the order of the walk: by tier, priority and name.
func (p *policy) compare(q *policy) int {
	return cmp.Or(cmp.Compare(p.tier, q.tier), cmp.Compare(p.priority, q.priority), cmp.Compare(p.namespace, q.namespace), cmp.Compare(p.name, q.name))
}
