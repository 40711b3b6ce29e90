package lab

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Cut pulls a node's cable: its link loses its carrier, and nothing passes.
func (l *Lab) Cut(n *Node) error {
	return l.setPort(n, netlink.LinkSetDown, "cutting")
}

// Heal plugs the cable in again.
func (l *Lab) Heal(n *Node) error {
	return l.setPort(n, netlink.LinkSetUp, "healing")
}

func (l *Lab) setPort(n *Node, set func(netlink.Link) error, doing string) error {
	return l.Switch().Do(func() error {
		port, err := netlink.LinkByName(n.Name)
		if err == nil {
			err = set(port)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", doing, n.Name, err)
		}
		return nil
	})
}

// SetUnderlayMTU changes the MTU of the switch and of every node's link, in bytes.
func (l *Lab) SetUnderlayMTU(mtu int) error {
	set := func(names ...string) error {
		for _, name := range names {
			link, err := netlink.LinkByName(name)
			if err == nil {
				err = netlink.LinkSetMTU(link, mtu)
			}
			if err != nil {
				return fmt.Errorf("setting the MTU of %s to %d: %w", name, mtu, err)
			}
		}
		return nil
	}
	ports := []string{}
	for _, n := range l.Nodes() {
		ports = append(ports, n.Name)
		if err := n.Do(func() error { return set(uplink) }); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	l.mu.Lock()
	l.options.UnderlayMTU = mtu
	l.mu.Unlock()
	return l.Switch().Do(func() error { return set(append(ports, bridgeName)...) })
}

// SetUnderlayAddress gives a node other addresses on the underlay in place of those it has, as DHCP might. Its Node's
// status is not told: see [Lab.SetNodeAddresses].
func (l *Lab) SetUnderlayAddress(n *Node, addrs ...netip.Addr) error {
	l.mu.Lock()
	options := l.options
	l.mu.Unlock()
	old := n.Addresses
	err := n.Do(func() error {
		link, err := netlink.LinkByName(uplink)
		if err != nil {
			return fmt.Errorf("finding %s: %w", uplink, err)
		}
		gone := slices.DeleteFunc(slices.Clone(old), func(a netip.Addr) bool { return slices.Contains(addrs, a) })
		// Removal first: an IPv4 address that comes beside another of its network goes with it.
		if err := removeAddresses(link, gone); err != nil {
			return err
		}
		if err := addAddresses(link, addrs); err != nil {
			return err
		}
		return addDefaultRoutes(link, options) // they went with the addresses
	})
	if err != nil {
		return fmt.Errorf("re-addressing %s: %w", n.Name, err)
	}
	n.Addresses = slices.Clone(addrs)
	return l.saveState()
}

func removeAddresses(link netlink.Link, addrs []netip.Addr) error {
	all, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("listing the addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, a := range all {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && slices.Contains(addrs, addr.Unmap()) {
			if err := netlink.AddrDel(link, &a); err != nil {
				return fmt.Errorf("removing %s from %s: %w", addr, link.Attrs().Name, err)
			}
		}
	}
	return nil
}
