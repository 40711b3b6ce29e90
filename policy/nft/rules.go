package nft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// chain is a chain of a ruleset; kinds says of which kind a set is.
func (o Options) chain(c policy.Chain, kinds func(string) policy.SetKind) (nft.Chain, error) {
	out := nft.Chain{Name: c.Name}
	if err := checkName(c.Name); err != nil {
		return out, fmt.Errorf("chain %q: %w", c.Name, err)
	}
	for i, r := range c.Rules {
		matches, err := matchesOf(c.Direction, r, kinds)
		if err != nil {
			return out, fmt.Errorf("chain %s: rule %d: %w", c.Name, i, err)
		}
		for _, match := range matches {
			switch r.Verdict {
			case policy.Accept:
				out.Rules = append(out.Rules, nft.NewRule(match, nft.Return()))
			case policy.Deny:
				out.Rules = append(out.Rules, o.denied(match, prefix(c.Name, i), counterOf(c.Direction))...)
			case policy.Pass:
				out.Rules = append(out.Rules, nft.NewRule(match, nft.Goto(r.Goto)))
			default:
				return out, fmt.Errorf("chain %s: rule %d: its verdict is %s", c.Name, i, r.Verdict)
			}
		}
	}
	return out, nil
}

// matchesOf are the matches of a rule, of which each range of ports has one of its own. What costs least to look at comes first.
func matchesOf(d policy.Direction, r policy.Rule, kinds func(string) policy.SetKind) ([]nft.Part, error) {
	var sets nft.Part
	if r.Target != "" {
		f, ok := familyOf(kinds(r.Target), policy.Ports4, policy.Ports6)
		if !ok {
			return nil, fmt.Errorf("%q is no set of ports", r.Target)
		}
		sets = append(sets, nft.DaddrPortIn(f, r.Target)...)
	}
	if r.Peer != "" {
		f, ok := familyOf(kinds(r.Peer), policy.Addresses4, policy.Addresses6, policy.Ranges4, policy.Ranges6)
		if !ok {
			return nil, fmt.Errorf("%q is no set of addresses", r.Peer)
		}
		match := nft.SaddrIn
		if d == policy.Egress {
			match = nft.DaddrIn
		}
		sets = append(sets, match(f, r.Peer)...)
	}
	if len(r.Ports) == 0 {
		if r.Protocol != 0 {
			sets = append(nft.Protocol(uint8(r.Protocol)), sets...)
		}
		return []nft.Part{sets}, nil
	}
	out := make([]nft.Part, 0, len(r.Ports))
	for _, p := range r.Ports {
		out = append(out, append(nft.Ports(uint8(r.Protocol), p.First, p.Last), sets...))
	}
	return out, nil
}

// familyOf is a set's family; kinds are for IPv4 and IPv6 in turn.
func familyOf(kind policy.SetKind, kinds ...policy.SetKind) (nft.Family, bool) {
	i := slices.Index(kinds, kind)
	if i < 0 {
		return 0, false
	}
	if i%2 == 0 {
		return nft.IPv4, true
	}
	return nft.IPv6, true
}

// prefix names a rule to those who listen to the log.
func prefix(chain string, rule int) string { return chain + separator + strconv.Itoa(rule) }

const separator = "/"

// parsePrefix finds the rule that a log's prefix names.
func parsePrefix(text string) (chain string, rule int, ok bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return "", 0, false
	}
	rule, err := strconv.Atoi(text[i+len(separator):])
	return text[:i], rule, err == nil && rule >= 0
}
