package mesh

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/crypto/identity"
)

// grant is one pod CIDR of one node.
type grant struct {
	prefix netip.Prefix
	node   Node
}

// acceptGrants are the grants of each node, by its name, that are inside the cluster's pod CIDRs and overlap no older
// node's; the others are refused.
func (c *computation) acceptGrants(nodes []Node) map[string][]netip.Prefix {
	var all []grant
	for _, n := range nodes {
		for _, p := range n.Grants {
			if why := c.outside(p); why != "" {
				c.refuse(n.Name, OutsideCluster, "pod CIDR %s %s", p, why)
				continue
			}
			all = append(all, grant{p, n})
		}
	}
	// CIDRs are nested or apart. Sorted, each outermost one is followed by all that lies inside it.
	slices.SortFunc(all, func(a, b grant) int { return a.prefix.Compare(b.prefix) })
	accepted := make(map[string][]netip.Prefix, len(nodes))
	for len(all) > 0 {
		end := 1
		for end < len(all) && all[0].prefix.Overlaps(all[end].prefix) {
			end++
		}
		for _, g := range c.settle(all[:end]) {
			accepted[g.node.Name] = append(accepted[g.node.Name], g.prefix)
		}
		all = all[end:]
	}
	return accepted
}

// settle decides among grants that overlap: the older node's holds. A node's own may overlap each other.
func (c *computation) settle(group []grant) []grant {
	if len(group) == 1 {
		return group
	}
	byAge := slices.Clone(group)
	slices.SortStableFunc(byAge, func(a, b grant) int { return older(a.node, b.node) })
	var held []grant
	for _, g := range byAge {
		i := slices.IndexFunc(held, func(h grant) bool { return h.node.Name != g.node.Name && h.prefix.Overlaps(g.prefix) })
		if i >= 0 {
			c.refuse(g.node.Name, Overlap, "pod CIDR %s overlaps %s of node %s, which is older", g.prefix, held[i].prefix, held[i].node.Name)
			continue
		}
		held = append(held, g)
	}
	slices.SortFunc(held, func(a, b grant) int { return a.prefix.Compare(b.prefix) })
	return held
}

func (c *computation) outside(p netip.Prefix) string {
	if !containedInAny(p, c.local.ClusterCIDRs) {
		return "is outside the cluster's pod CIDRs (" + join(c.local.ClusterCIDRs) + ")"
	}
	for _, service := range c.local.ServiceCIDRs {
		if service.Overlaps(p) {
			return "overlaps the service CIDR " + service.String()
		}
	}
	return ""
}

// keyHolders is the oldest node of each published key.
func keyHolders(nodes []Node) map[identity.PublicKey]Node {
	holders := make(map[identity.PublicKey]Node, len(nodes))
	for _, n := range nodes {
		if !n.Claim.Published() {
			continue
		}
		if held, ok := holders[n.Claim.PublicKey]; !ok || older(n, held) < 0 {
			holders[n.Claim.PublicKey] = n
		}
	}
	return holders
}
