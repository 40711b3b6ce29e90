package guard

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// keepsSources says whether there are destinations out of the cluster that pods reach with their own addresses.
func keepsSources(g mesh.Guard) bool { return len(g.NATExclude)+len(g.NATOff) > 0 }

// leave lets through what leaves by a link.
func leave(link string) nft.Rule { return nft.NewRule(nft.OIFName(link), nft.Accept()) }

func single(addrs []netip.Addr) (prefixes []netip.Prefix) {
	for _, a := range addrs {
		prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
	}
	return prefixes
}

// srcnat gives what leaves by a lane a source that the peer lets in, and what pods send out of the cluster the node's address, unless it is
// to keep the pod's. What goes to another node's own address never does: that is host traffic.
func srcnat(g mesh.Guard) (rules []nft.Rule) {
	for _, f := range families {
		for _, a := range g.Mesh {
			if a.Is4() == (f.Family == nft.IPv4) {
				rules = append(rules, nft.NewRule(nft.OIFNameIn(lanes), nft.SaddrNotIn(f.Family, f.own), nft.SNAT(a)))
				break
			}
		}
	}
	rules = append(rules, each(toPods(g), leave)...)
	rules = append(rules, nft.NewRule(nft.OIFNameIn(lanes), nft.Accept()), leave("lo"))
	for _, f := range families {
		if keepsSources(g) {
			rules = append(rules,
				nft.NewRule(nft.SaddrIn(f.Family, f.own), nft.DaddrIn(f.Family, f.nodes), nft.Masquerade()),
				nft.NewRule(nft.SaddrIn(f.Family, f.own), nft.DaddrIn(f.Family, f.natExclude), nft.Accept()),
				nft.NewRule(nft.SaddrIn(f.Family, f.natOff), nft.Accept()),
			)
		}
		rules = append(rules, nft.NewRule(nft.SaddrIn(f.Family, f.own), nft.DaddrNotIn(f.Family, f.cluster), nft.Masquerade()))
	}
	return rules
}

// egress is the last look before the wire: no pod's address leaves in clear, whichever way the packet came to leave, but for what goes out of
// the cluster and is to keep its source.
func egress(g mesh.Guard) []nft.Rule {
	return slices.Concat(
		each(toPods(g), leave),
		each(g.Lanes, leave),
		[]nft.Rule{leave("lo")},
		toOld(g),
		each(g.Cluster, func(p netip.Prefix) nft.Rule { return nft.NewRule(nft.Daddr(p), dropped(clearText)) }),
		kept(g),
		each(g.Cluster, func(p netip.Prefix) nft.Rule { return nft.NewRule(nft.Saddr(p), dropped(clearText)) }),
	)
}

// kept lets out what keeps its source. It comes after what is for the cluster.
func kept(g mesh.Guard) (rules []nft.Rule) {
	if !keepsSources(g) {
		return nil
	}
	for _, f := range families {
		rules = append(rules,
			nft.NewRule(nft.SaddrIn(f.Family, f.own), nft.DaddrIn(f.Family, f.nodes), dropped(clearText)),
			nft.NewRule(nft.SaddrIn(f.Family, f.own), nft.DaddrIn(f.Family, f.natExclude), nft.Accept()),
			nft.NewRule(nft.SaddrIn(f.Family, f.natOff), nft.Accept()),
		)
	}
	return rules
}
