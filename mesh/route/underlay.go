package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/internal/dump"
)

// ErrNoLink says that no link of this node holds any of the addresses asked for.
var ErrNoLink = errors.New("no link holds any of the addresses")

// Underlay gives the smallest MTU, in bytes, of the links that hold these addresses. Addresses that no link holds, such as an
// external one that a cloud translates, are passed over; if there is no other the error is ErrNoLink.
func (r *Router) Underlay(addrs []netip.Addr) (mtu int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held, err := r.addresses()
	if err != nil {
		return 0, err
	}
	for _, addr := range addrs {
		for _, index := range held[addr] {
			link, err := r.handle.LinkByIndex(index)
			if err != nil {
				return 0, fmt.Errorf("finding link of %s: %w", addr, err)
			}
			if m := link.Attrs().MTU; mtu == 0 || m < mtu {
				mtu = m
			}
		}
	}
	if mtu == 0 {
		return 0, fmt.Errorf("finding the underlay's MTU by %s: %w", addrs, ErrNoLink)
	}
	return mtu, nil
}

// LocalAddresses gives the node's own unicast addresses of all links, the lanes' too, sorted; loopback and link-local ones are not
// among them.
func (r *Router) LocalAddresses() ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held, err := r.addresses()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for addr := range held {
		if addr.IsGlobalUnicast() {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

// addresses maps every address of the node to the indexes of the links that hold it.
func (r *Router) addresses() (map[netip.Addr][]int, error) {
	list, err := dump.Undisturbed(func() ([]netlink.Addr, error) { return r.handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	held := make(map[netip.Addr][]int, len(list))
	for _, a := range list {
		p, err := prefix(a.IPNet)
		if err != nil {
			return nil, fmt.Errorf("listing addresses: %w", err)
		}
		held[p.Addr()] = append(held[p.Addr()], a.LinkIndex)
	}
	return held, nil
}
