package guard

import (
	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// fromOld lets in, for this node's own pods and itself, what comes in clear from nodes that may not be able to send by a lane yet.
func fromOld() (rules []nft.Rule) {
	for _, f := range families {
		rules = append(rules, nft.NewRule(nft.SaddrIn(f.Family, f.oldFrom), nft.DaddrIn(f.Family, f.own), nft.CountAs(inClear), nft.Accept()))
	}
	return rules
}

// toOld lets out what is for nodes that cannot take it by a lane yet.
func toOld(g mesh.Guard) (rules []nft.Rule) {
	for _, link := range g.OldLinks {
		for _, f := range families {
			rules = append(rules, nft.NewRule(nft.OIFName(link), nft.DaddrIn(f.Family, f.oldTo), nft.CountAs(inClear), nft.Accept()))
		}
	}
	return rules
}
