package nft

import "github.com/warren-mesh/warren/policy"

// denials are the rules of a chain that deny, by their numbers.
type denials struct {
	direction policy.Direction
	rules     map[int]policy.RuleID
}

func denialsOf(c policy.Chain) denials {
	out := denials{direction: c.Direction}
	for i, r := range c.Rules {
		if r.Verdict != policy.Deny {
			continue
		}
		if out.rules == nil {
			out.rules = map[int]policy.RuleID{}
		}
		out.rules[i] = r.ID
	}
	return out
}

// Denied is the rule that a log's prefix names; ok is false for one that has gone.
func (t *Table) Denied(prefix string) (d policy.Direction, id policy.RuleID, ok bool) {
	chain, rule, ok := parsePrefix(prefix)
	if !ok {
		return d, id, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.denials[chain]
	id, ok = c.rules[rule]
	return c.direction, id, ok
}

// Settled says whether a log's prefix is that of a pod without rules, and of which side, or of a revoked flow.
func (t *Table) Settled(prefix string) (unbound, revoked bool, d policy.Direction) {
	switch prefix {
	case unboundEgress:
		return true, false, policy.Egress
	case unboundIngress:
		return true, false, policy.Ingress
	}
	return false, prefix == revokedFlow, policy.Egress
}

// Spoofed says whether a log's prefix is that of a pod that sends under an address that is not its own.
func (t *Table) Spoofed(prefix string) bool { return prefix == spoofed }
