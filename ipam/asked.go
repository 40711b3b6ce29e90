package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ErrElsewhere says that an address that was asked for is not of those that are handed out here.
var ErrElsewhere = errors.New("it is none of those that pods may have here")

// Asked is a Source of which the runtime asks for addresses, at most one of each family. One that is free is handed out, whenever it was
// released: who asks for it means to have it after whoever had it before.
type Asked struct {
	Source

	Addresses []netip.Addr
}

// Offers implements Source.
func (a Asked) Offers(r Request) ([]Offer, error) {
	if pools, ok := a.Source.(Pools); ok && len(a.Addresses) > 0 {
		pools.Wish.Fixed, pools.Wish.ByRuntime = a.Addresses, true
		return pools.Offers(r)
	}
	offers, err := a.Source.Offers(r)
	if err != nil {
		return nil, err
	}
	for _, addr := range a.Addresses {
		has := func(p Part) bool { return within(p.Prefix, addr) }
		i := slices.IndexFunc(offers, func(o Offer) bool { return slices.ContainsFunc(o.Blocks, has) })
		if i < 0 {
			return nil, fmt.Errorf("choosing %s, which was asked for: %w (%s)", addr, ErrElsewhere, partsOf(offers))
		}
		offers[i].Fixed = addr
	}
	return offers, nil
}

// partsOf are the prefixes that offers are of.
func partsOf(offers []Offer) (prefixes []netip.Prefix) {
	for _, o := range offers {
		for _, part := range o.Blocks {
			prefixes = append(prefixes, part.Prefix)
		}
	}
	return prefixes
}
