package policy_test

import (
	"fmt"
	"slices"

	"github.com/warren-mesh/warren/policy"
)

// apply does what a delta says, in its order, and finds what could not be done to a kernel.
func apply(r *policy.Ruleset, d policy.Delta) error {
	for _, s := range d.SetsAdded {
		if _, there := r.Sets[s.Name]; there {
			return fmt.Errorf("set %s is added twice", s.Name)
		}
		r.Sets[s.Name] = s
	}
	for _, c := range d.ChainsAdded {
		if _, there := r.Chains[c.Name]; there {
			return fmt.Errorf("chain %s is added twice", c.Name)
		}
		if err := sound(r, c); err != nil {
			return err
		}
		r.Chains[c.Name] = c
	}
	for name, members := range d.MembersAdded {
		for _, m := range members {
			if _, there := r.Sets[name].Members[m]; there || r.Sets[name].Members == nil {
				return fmt.Errorf("set %s is given %s, which it has, or is not there", name, m)
			}
			r.Sets[name].Members[m] = struct{}{}
		}
	}
	for name, members := range d.MembersRemoved {
		for _, m := range members {
			if _, there := r.Sets[name].Members[m]; !there {
				return fmt.Errorf("set %s loses %s, which it does not have", name, m)
			}
			delete(r.Sets[name].Members, m)
		}
	}
	for _, b := range d.PodsSet {
		r.Pods[b.Interface] = b
	}
	for _, name := range d.PodsRemoved {
		if _, there := r.Pods[name]; !there {
			return fmt.Errorf("%s is not bound and removed", name)
		}
		delete(r.Pods, name)
	}
	return remove(r, d)
}

// remove takes chains and sets away, which by then nothing may name.
func remove(r *policy.Ruleset, d policy.Delta) error {
	for _, name := range d.ChainsRemoved {
		if _, there := r.Chains[name]; !there {
			return fmt.Errorf("chain %s is not there and removed", name)
		}
		delete(r.Chains, name)
		for _, c := range r.Chains {
			if slices.ContainsFunc(c.Rules, func(rule policy.Rule) bool { return rule.Goto == name }) {
				return fmt.Errorf("chain %s is removed, and %s goes there", name, c.Name)
			}
		}
	}
	for _, name := range d.SetsRemoved {
		if _, there := r.Sets[name]; !there {
			return fmt.Errorf("set %s is not there and removed", name)
		}
		delete(r.Sets, name)
	}
	for _, c := range r.Chains {
		if err := sound(r, c); err != nil {
			return err
		}
	}
	for _, b := range r.Pods {
		for _, name := range []string{b.Ingress, b.Egress, b.Host} {
			if _, there := r.Chains[name]; name != "" && !there {
				return fmt.Errorf("%s is bound to %s, which is not there", b.Interface, name)
			}
		}
	}
	return nil
}

// sound says that a chain names only what is there.
func sound(r *policy.Ruleset, c policy.Chain) error {
	for _, rule := range c.Rules {
		for _, set := range []string{rule.Peer, rule.Target} {
			if _, there := r.Sets[set]; set != "" && !there {
				return fmt.Errorf("chain %s names the set %s, which is not there", c.Name, set)
			}
		}
		if _, there := r.Chains[rule.Goto]; rule.Goto != "" && !there {
			return fmt.Errorf("chain %s goes to %s, which is not there", c.Name, rule.Goto)
		}
	}
	return nil
}
