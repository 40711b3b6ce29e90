package nft

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// BaseChain is a base chain in somebody's table.
type BaseChain struct {
	Family Family
	Table  string
	Chain
}

// String is family, table and chain as nft writes them.
func (b BaseChain) String() string { return fmt.Sprintf("%s %s %s", b.Family, b.Table, b.Name) }

// BaseChains reads all base chains on a hook of the families ip, ip6 and inet, except those of one table.
func (c *Conn) BaseChains(hook uint32, except string) ([]BaseChain, error) {
	var out []BaseChain
	err := c.consistently(func() error {
		out = nil
		chains, err := c.nft.ListChains()
		if err != nil {
			return err
		}
		for _, found := range chains {
			b := BaseChain{Family: Family(found.Table.Family), Table: found.Table.Name, Chain: Chain{Name: found.Name, Hook: hookOf(found)}}
			if b.Hook == nil || b.Hook.Number != hook || b.Table == except || b.Family.String() == "unknown" {
				continue
			}
			if b.Rules, err = c.rules(found.Table, found); err != nil {
				return fmt.Errorf("chain %s: %w", b, err)
			}
			out = append(out, b)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading other base chains: %w", err)
	}
	return out, nil
}

// Mark makes the rules that carry a comment the ones that are wanted: at the head of the chain, each once. Rules without that comment
// are not touched. It says how many rules it removed and added; none when the chain holds what is wanted, in whatever place.
func (c *Conn) Mark(b BaseChain, comment string, want []Rule) (removed, added int, err error) {
	var have []Rule
	for _, r := range b.Rules {
		if r.Comment() == comment {
			have = append(have, r)
		}
	}
	marked := make([]Rule, 0, len(want))
	for _, r := range want {
		marked = append(marked, r.Commented(comment))
	}
	same, err := sameRules(b.Family, have, marked)
	if err != nil || same {
		return 0, 0, err
	}
	t := &nftables.Table{Family: nftables.TableFamily(b.Family), Name: b.Table}
	chain := &nftables.Chain{Table: t, Name: b.Name}
	err = c.transaction(func(tx *nftables.Conn) error {
		for _, r := range have {
			if err := tx.DelRule(&nftables.Rule{Table: t, Chain: chain, Handle: r.handle}); err != nil {
				return err
			}
		}
		for _, r := range slices.Backward(marked) { // Each goes to the head, so the first has to be the last.
			tx.InsertRule(r.nft(t, chain))
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("changing chain %s: %w", b, err)
	}
	return len(have), len(marked), nil
}

// sameRules compares rules without their order.
func sameRules(f Family, a, b []Rule) (bool, error) {
	x, err := keys(f, a)
	if err != nil {
		return false, err
	}
	y, err := keys(f, b)
	if err != nil {
		return false, err
	}
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y), nil
}
