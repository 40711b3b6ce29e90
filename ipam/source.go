package ipam

import (
	"errors"
	"net/netip"
)

// Source says where a pod's addresses come from: one list of prefixes for each family, and out of each list the pod has one address.
// Prefixes that come first are used up first.
type Source interface {
	Prefixes(Request) ([][]netip.Prefix, error)
}

// errNoCIDR is the state of a node that has been given nothing to hand out.
var errNoCIDR = errors.New("the node has no pod CIDR yet")

// NodeCIDRs is the Source of a node that hands out of its own pod CIDRs, of each family the first.
type NodeCIDRs []netip.Prefix

var _ Source = NodeCIDRs(nil)

// Prefixes implements Source: they are the same for every pod.
func (c NodeCIDRs) Prefixes(Request) ([][]netip.Prefix, error) {
	var lists [][]netip.Prefix
	var has4, has6 bool
	for _, p := range c {
		known := &has6
		if p.Addr().Is4() {
			known = &has4
		}
		if !*known {
			*known = true
			lists = append(lists, []netip.Prefix{p})
		}
	}
	if len(lists) == 0 {
		return nil, errNoCIDR
	}
	return lists, nil
}
