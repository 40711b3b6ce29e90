package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ErrElsewhere says that an address that was asked for is not of those that are handed out here.
var ErrElsewhere = errors.New("it is none of those that pods may have here")

// Asked is a Source of which addresses were asked for, at most one of each family. One that is free is handed out, whenever it was released:
// who asks for it means to have it after whoever had it before.
type Asked struct {
	Source

	Addresses []netip.Addr
}

// asked is the address that was asked for out of these prefixes; invalid where any will do.
func (t *Table) asked(source Source, prefixes []netip.Prefix) (netip.Addr, error) {
	a, ok := source.(Asked)
	if !ok || len(prefixes) == 0 {
		return netip.Addr{}, nil
	}
	i := slices.IndexFunc(a.Addresses, func(addr netip.Addr) bool { return addr.Is4() == prefixes[0].Addr().Is4() })
	if i < 0 {
		return netip.Addr{}, nil
	}
	addr := a.Addresses[i]
	if !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return within(p, addr) }) {
		return addr, fmt.Errorf("choosing %s, which was asked for: %w (%s)", addr, ErrElsewhere, prefixes)
	}
	if holder, taken := t.holders[addr]; taken {
		return addr, fmt.Errorf("choosing %s, which was asked for: %w, to %s of container %s", addr, ErrHeld, holder.Interface, holder.ContainerID)
	}
	return addr, nil
}

// allUsed is an error where an address was asked for of a family that there is none of.
func allUsed(source Source, chosen []netip.Addr) error {
	a, ok := source.(Asked)
	if !ok {
		return nil
	}
	for _, addr := range a.Addresses {
		if !slices.Contains(chosen, addr) {
			return fmt.Errorf("choosing %s, which was asked for: %w: there is no pod CIDR of its family", addr, ErrElsewhere)
		}
	}
	return nil
}
