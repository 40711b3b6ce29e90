package podnet

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
)

// setUpPod does the pod's end. It is called in the pod's namespace, after the host's end is up.
func setUpPod(s Spec, result Result) error {
	e, err := newEnd()
	if err != nil {
		return err
	}
	defer e.Close()
	link, err := e.LinkByName(s.Interface)
	if err != nil {
		return fmt.Errorf("finding link: %w", err)
	}
	if !bytes.Equal(link.Attrs().HardwareAddr, result.PodMAC) { // of a wire that was there before
		if err := e.LinkSetHardwareAddr(link, result.PodMAC); err != nil {
			return fmt.Errorf("setting hardware address %s: %w", result.PodMAC, err)
		}
	}
	lo, err := e.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	if err := errors.Join(e.LinkSetUp(lo), e.LinkSetMTU(link, s.MTU), podSysctls(s), e.LinkSetUp(link)); err != nil {
		return fmt.Errorf("setting links up: %w", err)
	}
	index := link.Attrs().Index
	if err := e.awaitCarrier(index); err != nil {
		return err
	}
	if err := e.setAddresses(link, s.Addresses); err != nil {
		return err
	}
	_, ipv6 := s.families()
	err = errors.Join(
		e.setGateway(index, gateway4, s.of(gateway4), result.HostMAC),
		e.setGateway(index, gateway6, s.of(gateway6), result.HostMAC),
	)
	if err != nil || !ipv6 {
		return err
	}
	return e.awaitLocal(index, s.Addresses...)
}

// setAddresses adds the addresses that are missing and removes the others, but for link-local ones.
func (e *end) setAddresses(link netlink.Link, want []netip.Addr) error {
	have, err := dump.Undisturbed(func() ([]netlink.Addr, error) { return e.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	missing := slices.Clone(want)
	var errs []error
	for _, a := range have {
		addr, ok := netip.AddrFromSlice(a.IP)
		switch ones, size := a.Mask.Size(); {
		case ok && addr.IsLinkLocalUnicast():
		case ok && ones == size && slices.Contains(want, addr):
			missing = slices.DeleteFunc(missing, func(m netip.Addr) bool { return m == addr })
		default:
			if err := e.AddrDel(link, &a); err != nil {
				errs = append(errs, fmt.Errorf("removing address %s: %w", a.IPNet, err))
			}
		}
	}
	for _, m := range missing {
		addr := &netlink.Addr{IPNet: hostNet(m)}
		if m.Is6() {
			addr.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
		}
		if err := e.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("adding address %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// neighbour is a permanent one: it is never asked for, and never forgotten.
func neighbour(index int, addr netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac}
}

// absent says that there was nothing to remove, perhaps because the kernel lacks the family altogether.
func absent(err error) bool {
	for _, e := range []error{unix.ESRCH, unix.ENOENT, unix.ENODEV, unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// hostNet is the prefix of one address only.
func hostNet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// defaultNet is the prefix of all addresses of a's family.
func defaultNet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: make(net.IP, a.BitLen()/8), Mask: net.CIDRMask(0, a.BitLen())}
}
