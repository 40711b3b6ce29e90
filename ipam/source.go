package ipam

import (
	"errors"
	"net/netip"
)

// Source says where a pod's addresses come from: one offer for each family, and out of each the pod has one address.
type Source interface {
	Offers(Request) ([]Offer, error)
}

// Offer is out of what a pod has an address.
type Offer struct {
	// Blocks are used up in this order, but first those that others have addresses of.
	Blocks []Part
	// Reserved are left out.
	Reserved []netip.Prefix
	// Fixed is the one address that it may be, reserved or not; invalid where any will do.
	Fixed netip.Addr
	// Pools are the names of those that the blocks are of, whether there are any or not; none where addresses are of no pool.
	Pools []string
}

// Part is a prefix that addresses are handed out of, and the name of the pool that it is of; empty where it is of none.
type Part struct {
	Prefix netip.Prefix
	Pool   string
}

// errNoCIDR is the state of a node that has been given nothing to hand out.
var errNoCIDR = errors.New("the node has no pod CIDR yet")

// NodeCIDRs is the Source of a node that hands out of its own pod CIDRs, of each family the first.
type NodeCIDRs []netip.Prefix

var _ Source = NodeCIDRs(nil)

// Offers implements Source: they are the same for every pod.
func (c NodeCIDRs) Offers(Request) ([]Offer, error) {
	var offers []Offer
	var has4, has6 bool
	for _, p := range c {
		known := &has6
		if p.Addr().Is4() {
			known = &has4
		}
		if !*known {
			*known = true
			offers = append(offers, Offer{Blocks: []Part{{Prefix: p}}})
		}
	}
	if len(offers) == 0 {
		return nil, errNoCIDR
	}
	return offers, nil
}
