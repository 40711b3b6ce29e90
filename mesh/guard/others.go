package guard

import (
	"errors"
	"fmt"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// comment marks the rules of ours in others' chains.
const comment = "warren.dev"

// ErrOthers says that the host's own firewall could not be told to let our interfaces through. The guard is in place all the same.
var ErrOthers = errors.New("letting pod traffic through the host's firewall")

// accept puts our accepts into the base chains of others that refuse what they do not know, and takes them out of those that
// no longer do.
func (g *Guard) accept(links []string) error {
	chains, err := g.conn.BaseChains(nft.Forward, mesh.GuardTable)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOthers, err)
	}
	var errs []error
	for _, c := range chains {
		var want []nft.Rule
		if refuses(c) {
			want = accepts(links)
		}
		removed, added, err := g.conn.Mark(c, comment, want)
		if removed+added > 0 {
			g.onMessage(1)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrOthers, err))
		}
	}
	return errors.Join(errs...)
}

// refuses says whether a packet that no rule accepts ends in this chain: by its policy (iptables -P FORWARD DROP, Docker, ufw) or by a
// last rule that takes all (firewalld, the iptables rules of some distributions).
func refuses(c nft.BaseChain) bool {
	if c.Hook.Type != "filter" {
		return false
	}
	return c.Hook.Drop || len(c.Rules) > 0 && c.Rules[len(c.Rules)-1].Refuses()
}

// accepts are the rules as `iptables -I FORWARD -i warren0 -j ACCEPT` would write them, so that iptables can list the chain.
func accepts(links []string) (rules []nft.Rule) {
	for _, l := range links {
		rules = append(rules,
			nft.NewRule(nft.IIFName(l), nft.Count(), nft.Accept()),
			nft.NewRule(nft.OIFName(l), nft.Count(), nft.Accept()),
		)
	}
	return rules
}
