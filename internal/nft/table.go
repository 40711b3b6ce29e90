package nft

import (
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Family is a table's family, or one side of a dual-stack rule.
type Family byte

// The families that carry IP.
const (
	IPv4 Family = unix.NFPROTO_IPV4
	IPv6 Family = unix.NFPROTO_IPV6
	INet Family = unix.NFPROTO_INET
)

// String is the family as nft writes it.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ip"
	case IPv6:
		return "ip6"
	case INet:
		return "inet"
	}
	return "unknown"
}

// Table is a table and all that is in it.
type Table struct {
	Family   Family
	Name     string
	Counters []Counter
	Sets     []Set
	Chains   []Chain

	// asleep says, of a table that was read, that it has flags which a table of ours never has: dormant is one.
	asleep bool
}

// Counter is a named counter. What it has counted is read, never compared.
type Counter struct {
	Name    string
	Packets uint64
	Bytes   uint64
}

// Chain is a chain; Hook is nil unless it is a base chain.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Hook is where a base chain is attached, and what it does with packets that no rule decided.
type Hook struct {
	// Type is filter or nat.
	Type     string
	Number   uint32
	Priority int32
	Drop     bool
}

// The hooks of the IP families.
const (
	Prerouting  = unix.NF_INET_PRE_ROUTING
	Input       = unix.NF_INET_LOCAL_IN
	Forward     = unix.NF_INET_FORWARD
	Postrouting = unix.NF_INET_POST_ROUTING
)

// WithSets is the table with these sets' elements in the place of those that it has, and whether it has such sets at all.
func (t *Table) WithSets(sets ...Set) (Table, bool) {
	out := *t
	out.Sets = slices.Clone(t.Sets)
	for _, s := range sets {
		i := slices.IndexFunc(out.Sets, func(is Set) bool { return is.Name == s.Name && is.Kind == s.Kind })
		if i < 0 {
			return Table{}, false
		}
		out.Sets[i] = s
	}
	return out, true
}

func (t *Table) counter(name string) *Counter {
	for i := range t.Counters {
		if t.Counters[i].Name == name {
			return &t.Counters[i]
		}
	}
	return nil
}

func (t *Table) nft() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamily(t.Family), Name: t.Name}
}

func (c *Chain) nft(t *nftables.Table) *nftables.Chain {
	out := &nftables.Chain{Table: t, Name: c.Name}
	if c.Hook != nil {
		policy := nftables.ChainPolicyAccept
		if c.Hook.Drop {
			policy = nftables.ChainPolicyDrop
		}
		out.Type = nftables.ChainType(c.Hook.Type)
		out.Hooknum = nftables.ChainHookRef(nftables.ChainHook(c.Hook.Number))
		out.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.Hook.Priority))
		out.Policy = &policy
	}
	return out
}

// hookOf reads a chain's hook; nil when it has none.
func hookOf(c *nftables.Chain) *Hook {
	if c.Hooknum == nil || c.Priority == nil {
		return nil
	}
	return &Hook{
		Type:     string(c.Type),
		Number:   uint32(*c.Hooknum),
		Priority: int32(*c.Priority),
		Drop:     c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop,
	}
}

// sameHook says whether two chains hang in the same place.
func sameHook(a, b *Hook) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
