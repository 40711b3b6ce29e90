package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
)

// SetAddresses brings a link up, its MTU (bytes) to mtu and its addresses to exactly these; link-local ones are left as they are.
// IPv6 addresses wait for no duplicate address detection and bring no route of their own.
//
// When it changed something by which the kernel drops routes, the next Set reads the kernel.
func (r *Router) SetAddresses(link string, addrs []netip.Prefix, mtu int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.handle.LinkByName(link)
	if err != nil {
		return fmt.Errorf("setting addresses of %s: finding link: %w", link, err)
	}
	if l.Attrs().MTU != mtu {
		r.onMessage(1)
		if err := r.handle.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("setting MTU of %s to %d: %w", link, mtu, err)
		}
	}
	if l.Attrs().RawFlags&unix.IFF_UP == 0 {
		r.unsettle()
		r.onMessage(1)
		if err := r.handle.LinkSetUp(l); err != nil {
			return fmt.Errorf("setting %s up: %w", link, err)
		}
	}
	// Twice: with an IPv4 address the kernel may remove others of the same network, its secondaries.
	for range 2 {
		removed, err := r.converge(l, addrs)
		if err != nil {
			return fmt.Errorf("setting addresses of %s: %w", link, err)
		}
		if !removed {
			break
		}
		r.unsettle()
	}
	return nil
}

// converge adds the addresses that are missing, then removes those not wanted, and says whether there were any.
func (r *Router) converge(link netlink.Link, want []netip.Prefix) (removed bool, err error) {
	have, err := dump.Undisturbed(func() ([]netlink.Addr, error) { return r.handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return false, fmt.Errorf("listing addresses: %w", err)
	}
	missing := slices.Clone(want)
	var extra, failed []netlink.Addr
	for _, a := range have {
		p, err := prefix(a.IPNet)
		switch {
		case err != nil:
			return false, err
		case p.Addr().IsLinkLocalUnicast():
		case !slices.Contains(want, p) || a.Peer != nil:
			extra = append(extra, a)
		case a.Flags&(unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE) != 0:
			failed = append(failed, a)
		default:
			missing = slices.DeleteFunc(missing, func(m netip.Prefix) bool { return m == p })
		}
	}
	var errs []error
	for _, a := range failed {
		errs = append(errs, r.removeAddress(link, a))
	}
	for _, m := range missing {
		errs = append(errs, r.addAddress(link, m))
	}
	for _, a := range extra {
		errs = append(errs, r.removeAddress(link, a))
	}
	return len(extra)+len(failed) > 0, errors.Join(errs...)
}

func (r *Router) addAddress(link netlink.Link, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
	}
	r.onMessage(1)
	if err := r.handle.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("adding address %s: %w", p, err)
	}
	return nil
}

// removeAddress is content with an address that is not there any more: it went with its primary.
func (r *Router) removeAddress(link netlink.Link, a netlink.Addr) error {
	r.onMessage(1)
	if err := r.handle.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing address %s: %w", a.IPNet, err)
	}
	return nil
}
