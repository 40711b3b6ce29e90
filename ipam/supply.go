package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// errNoPool is the state of a cluster without a pool for a pod.
var errNoPool = fmt.Errorf("%w: no pool is for it: want an IPPool that allows Pods and whose namespaceSelector selects its namespace, or that has none", ErrDenied)

// Supply is what a node can give pods at the moment.
type Supply struct {
	Pools []Pool
	// Blocks are those of the node that it may hand out of, the oldest first.
	Blocks []Block
	// Reserved are kept from pods that do not ask for them.
	Reserved []netip.Prefix
}

// Binds says whether what a pod may have depends on its namespace.
func (s Supply) Binds() bool {
	return slices.ContainsFunc(s.Pools, func(p Pool) bool { return p.Namespaces != nil })
}

// Everything is one offer for each block: how all of them are used.
func (s Supply) Everything() Everything {
	var offers Everything
	for _, b := range s.Blocks {
		offers = append(offers, Offer{Blocks: []Part{{b.CIDR, b.Pool}}, Reserved: s.Reserved, Pools: []string{b.Pool}})
	}
	return offers
}

// Everything is a Source of what there is, whoever asks.
type Everything []Offer

// Offers implements Source.
func (e Everything) Offers(Request) ([]Offer, error) { return e, nil }

// Pools is the Source of one pod on a node that hands out of the blocks it holds.
type Pools struct {
	Wish Wish
	// Supply says what there is. It is asked when an address is chosen: a block that is being returned is none by then.
	Supply func() Supply
}

var (
	_ Source = Pools{}
	_ Source = Everything(nil)
)

// Offers implements Source: an address of each family that the pod's pools have.
func (p Pools) Offers(r Request) ([]Offer, error) {
	supply := p.Supply()
	pools, err := p.Wish.choose(supply.Pools)
	if err != nil {
		return nil, err
	}
	var offers []Offer
	for _, is4 := range []bool{true, false} {
		family := slices.DeleteFunc(slices.Clone(pools), func(p Pool) bool { return p.CIDR.Addr().Is4() != is4 })
		if len(family) == 0 {
			continue
		}
		enabled := slices.DeleteFunc(slices.Clone(family), func(p Pool) bool { return p.Disabled })
		if len(enabled) == 0 {
			return nil, fmt.Errorf("%w: %s, which it has its %s address from, is disabled", ErrDenied, poolList(strings.Split(names(family), ", ")), familyName(is4))
		}
		offers = append(offers, supply.offer(enabled))
	}
	if len(offers) == 0 {
		return nil, errNoPool
	}
	if r.Interface == fixedInterface || p.Wish.ByRuntime {
		err = p.Wish.fix(pools, offers)
	}
	return offers, err
}

// offer is of the blocks of some pools of one family, in their order.
func (s Supply) offer(pools []Pool) Offer {
	o := Offer{Reserved: s.Reserved}
	for _, p := range pools {
		o.Pools = append(o.Pools, p.Name)
		for _, b := range s.Blocks {
			if b.Pool == p.Name {
				o.Blocks = append(o.Blocks, Part{b.CIDR, b.Pool})
			}
		}
	}
	return o
}

// fix puts the addresses that are asked for into the offers, of the same pools.
func (w Wish) fix(pools []Pool, offers []Offer) error {
	for _, a := range w.Fixed {
		i := slices.IndexFunc(pools, func(p Pool) bool { return p.CIDR.Contains(a) })
		if i < 0 {
			return fmt.Errorf("%w: %s: %s is in no pool that it may have addresses from; those are: %s", ErrDenied, w.asker(), a, cidrs(pools))
		}
		p := pools[i]
		if p.Disabled {
			return fmt.Errorf("%w: %s: %s is of pool %s, which is disabled", ErrDenied, w.asker(), a, p.Name)
		}
		block := netip.PrefixFrom(a, p.BlockSize).Masked()
		if !within(block, a) {
			return fmt.Errorf("%w: %s: no pod may have %s: of its block %s pods may have %s", ErrDenied, w.asker(), a, block, usableRange(block))
		}
		for j := range offers {
			if slices.Contains(offers[j].Pools, p.Name) {
				offers[j].Fixed = a
			}
		}
	}
	return nil
}

func cidrs(pools []Pool) string {
	texts := make([]string, len(pools))
	for i, p := range pools {
		texts[i] = fmt.Sprintf("%s (%s)", p.Name, p.CIDR)
	}
	return strings.Join(texts, ", ")
}

func usableRange(p netip.Prefix) string {
	size := usable(p)
	if size == 0 {
		return "none"
	}
	return fmt.Sprintf("%s to %s", address(p, 0), address(p, size-1))
}

func familyName(is4 bool) string {
	if is4 {
		return "IPv4"
	}
	return "IPv6"
}
