package mesh

import (
	"net/netip"
	"slices"
)

// natOff are the node's own prefixes whose pods keep their addresses, in order.
func (l Local) natOff(own []netip.Prefix) []netip.Prefix {
	if l.NoNAT {
		return slices.Clone(own)
	}
	var off []netip.Prefix
	for _, p := range l.NATOff {
		for _, o := range own {
			switch {
			case containedInAny(o, []netip.Prefix{p}):
				off = append(off, o)
			case containedInAny(p, []netip.Prefix{o}):
				off = append(off, p)
			}
		}
	}
	slices.SortFunc(off, netip.Prefix.Compare)
	return slices.Compact(off)
}

// nodeAddresses are the peers' own on the underlay, as far as they may be used, each once and in order.
func (p *Planner) nodeAddresses() (addrs []netip.Addr) {
	c := computation{local: p.last}
	for i, f := range p.findings {
		if f.peer == nil {
			continue
		}
		for _, endpoint := range p.nodes[i].Claim.Endpoints {
			if c.badEndpoint(endpoint.Addr()) == "" {
				addrs = append(addrs, endpoint.Addr())
			}
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
