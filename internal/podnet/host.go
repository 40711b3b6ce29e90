package podnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
)

// prepareHost brings the host's end up, after its sysctls: they say what the kernel does with it then.
func (e *end) prepareHost(s Spec, name string, index int) error {
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Index: index}}
	if err := e.LinkSetMTU(link, s.MTU); err != nil {
		return fmt.Errorf("setting MTU to %d: %w", s.MTU, err)
	}
	if err := hostSysctls(s, name); err != nil {
		return err
	}
	if err := e.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting link up: %w", err)
	}
	return nil
}

// setUpHost does what needs both ends up.
func (e *end) setUpHost(s Spec, result Result, index int) error {
	if err := e.awaitCarrier(index); err != nil {
		return err
	}
	if _, ipv6 := s.families(); ipv6 {
		// With its /64, so that the node answers the pod's link-local addresses by this link.
		addr := &netlink.Addr{IPNet: linkLocalNet(gateway6), Scope: int(netlink.SCOPE_LINK), Flags: unix.IFA_F_NODAD}
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Index: index}}
		if err := e.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("setting address %s: %w", gateway6, err)
		}
		if err := e.awaitLocal(index, gateway6); err != nil {
			return err
		}
	}
	if err := e.removeHostRoutes(index, s.Addresses); err != nil {
		return err
	}
	var errs []error
	for _, a := range s.Addresses {
		if err := e.NeighSet(neighbour(index, a, result.PodMAC)); err != nil {
			errs = append(errs, fmt.Errorf("setting neighbour %s: %w", a, err))
		}
		errs = append(errs, e.addHostRoute(index, a))
	}
	return errors.Join(errs...)
}

// ErrTaken says that an address is routed to another link already.
var ErrTaken = errors.New("another has the address")

// addHostRoute never replaces: the address would be taken from whoever has it. The route names no source, since the kernel
// drops routes with their source address.
func (e *end) addHostRoute(index int, a netip.Addr) error {
	err := e.RouteAdd(hostRoute(index, a))
	if errors.Is(err, unix.EEXIST) {
		routes, listErr := e.hostRoutes(index, a)
		if listErr != nil {
			return listErr
		}
		if slices.Contains(routes, a) {
			return nil
		}
		err = fmt.Errorf("%w: %w", ErrTaken, err)
	}
	if err != nil {
		return fmt.Errorf("adding route to %s: %w", a, err)
	}
	return nil
}

// removeHostRoutes removes the routes and neighbours of addresses that the pod has no more.
func (e *end) removeHostRoutes(index int, keep []netip.Addr) error {
	var errs []error
	for _, some := range []netip.Addr{gateway4, gateway6} {
		routes, err := e.hostRoutes(index, some)
		errs = append(errs, err)
		for _, a := range routes {
			if slices.Contains(keep, a) {
				continue
			}
			if err := e.RouteDel(hostRoute(index, a)); err != nil && !absent(err) {
				errs = append(errs, fmt.Errorf("removing route to %s: %w", a, err))
			}
			if err := e.NeighDel(neighbour(index, a, nil)); err != nil && !absent(err) {
				errs = append(errs, fmt.Errorf("removing neighbour %s: %w", a, err))
			}
		}
	}
	return errors.Join(errs...)
}

// hostRoutes gives the addresses that we route to a link, of the family of the given one.
func (e *end) hostRoutes(index int, like netip.Addr) ([]netip.Addr, error) {
	filter := &netlink.Route{LinkIndex: index, Protocol: mesh.RouteProtocol}
	routes, err := dump.Undisturbed(func() ([]netlink.Route, error) {
		return e.RouteListFiltered(family(like), filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("listing routes to pods: %w", err)
	}
	var addrs []netip.Addr
	for _, r := range routes {
		if a, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			addrs = append(addrs, a)
		}
	}
	return addrs, nil
}

func hostRoute(index int, a netip.Addr) *netlink.Route {
	return &netlink.Route{
		Dst: hostNet(a), LinkIndex: index, Scope: netlink.SCOPE_LINK, Protocol: mesh.RouteProtocol,
		Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST,
	}
}

func linkLocalNet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(64, a.BitLen())}
}
