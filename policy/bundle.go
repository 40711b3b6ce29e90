package policy

import (
	"encoding/binary"
	"maps"
	"slices"
)

// bundle is what a set of policies comes to for a pod: all local pods to whom the same policies apply share it.
type bundle struct {
	key      string
	policies []*policy
	refs     int
	// ingress, egress and host are nil where nothing applies.
	ingress, egress, host *chain
}

func (b *bundle) names() (ingress, egress, host string) {
	return b.ingress.title(), b.egress.title(), b.host.title()
}

// bind gives a class of local pods the bundle of its policies.
func (x *Index) bind(c *class) {
	policies := slices.SortedFunc(maps.Keys(c.policies), (*policy).compare)
	var key []byte
	for _, p := range policies {
		key = binary.AppendUvarint(key, p.serial)
	}
	b := x.bundles[string(key)]
	if b == nil {
		b = &bundle{key: string(key), policies: policies}
		x.bundles[b.key] = b
		x.build(b)
	}
	if b == c.bundle {
		return
	}
	b.refs++
	x.releaseBundle(c.bundle)
	c.bundle = b
	for p := range c.locals {
		for name := range x.localsOf[p.PodKey] {
			x.staleLocals[name] = struct{}{}
		}
	}
}

func (x *Index) releaseBundle(b *bundle) {
	if b == nil {
		return
	}
	if b.refs--; b.refs > 0 {
		return
	}
	delete(x.bundles, b.key)
	for _, c := range []*chain{b.ingress, b.egress, b.host} {
		x.releaseChain(c)
	}
	for _, p := range b.policies {
		if p.uses--; p.uses == 0 {
			p.program = nil
		}
	}
}

// build makes the chains of a new bundle.
func (x *Index) build(b *bundle) {
	for _, p := range b.policies {
		if p.uses++; p.program == nil {
			p.program = &p.compile().program
		}
	}
	for _, d := range []Direction{Ingress, Egress} {
		admin, baseline := b.tier(AdminTier, d), b.tier(BaselineTier, d)
		rest, isolated := b.isolation(d)
		if !isolated {
			rest = baseline
		}
		if d == Ingress {
			b.ingress = x.tiers(b, d, admin, rest)
			continue
		}
		b.egress = x.tiers(b, d, admin, rest)
		if isolated {
			rest = nil // NetworkPolicy accepts what goes to the own node, and ends the walk.
		}
		b.host = x.tiers(b, d, admin, rest)
	}
}

// tier are the rules of all policies of a tier, in the order of the walk.
func (b *bundle) tier(t Tier, d Direction) (rules []Rule) {
	for _, p := range b.policies {
		if p.tier == t {
			rules = append(rules, p.program.rules[side(d)]...)
		}
	}
	return rules
}

// isolation are the rules of the NetworkPolicies that isolate the pod in a direction, and the denial of everything else.
func (b *bundle) isolation(d Direction) (rules []Rule, isolated bool) {
	otherwise := RuleID{Tier: NetworkPolicyTier, Rule: -1}
	for _, p := range b.policies {
		if p.tier != NetworkPolicyTier || !p.program.isolates[side(d)] {
			continue
		}
		rules = append(rules, p.program.rules[side(d)]...)
		otherwise.Namespace, otherwise.Policy = p.namespace, p.name
		if isolated {
			otherwise.Namespace, otherwise.Policy = "", ""
		}
		isolated = true
	}
	return append(rules, Rule{Verdict: Deny, ID: otherwise}), isolated
}
