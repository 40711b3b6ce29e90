package podnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
)

// Check says what of a pod's wire is missing, addresses and routes included; nil where all is there. Nothing is changed.
func Check(s Spec) error {
	if err := checkWire(s); err != nil {
		return fmt.Errorf("checking pod %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func checkWire(s Spec) error {
	pod, err := OpenSandbox(s.NetNS)
	if err != nil {
		return err
	}
	defer pod.Close()
	host, err := newEnd()
	if err != nil {
		return err
	}
	defer host.Close()
	name := s.Result().HostLink
	link, err := host.find(name, alias(s.Namespace, s.Name))
	if err != nil {
		return err
	}
	if link == nil {
		return fmt.Errorf("link %s is gone", name)
	}
	for _, like := range []netip.Addr{gateway4, gateway6} {
		routed, err := host.hostRoutes(link.Attrs().Index, like)
		if err != nil {
			return err
		}
		if a, ok := lacking(s.of(like), routed); ok {
			return fmt.Errorf("the route to %s is gone", a)
		}
	}
	return pod.do(func() error { return checkPod(s, link) })
}

func checkPod(s Spec, host netlink.Link) error {
	same, err := isPeer(s.Interface, host)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s is not the other end of %s", s.Interface, host.Attrs().Name)
	}
	e, err := newEnd()
	if err != nil {
		return err
	}
	defer e.Close()
	link, err := e.LinkByName(s.Interface)
	if err != nil {
		return fmt.Errorf("finding link %s in the pod: %w", s.Interface, err)
	}
	have, err := dump.Undisturbed(func() ([]netlink.Addr, error) { return e.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	var addrs []netip.Addr
	for _, a := range have {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	if a, ok := lacking(s.Addresses, addrs); ok {
		return fmt.Errorf("%s has not the address %s", s.Interface, a)
	}
	return errors.Join(e.checkGateway(link, s.of(gateway4)), e.checkGateway(link, s.of(gateway6)))
}

// checkGateway looks for a default route by a link, in whatever table.
func (e *end) checkGateway(link netlink.Link, addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return nil
	}
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_UNSPEC} // of all tables
	routes, err := dump.Undisturbed(func() ([]netlink.Route, error) {
		return e.RouteListFiltered(family(addrs[0]), filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("listing the pod's routes: %w", err)
	}
	if slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Gw != nil && (r.Dst == nil || r.Dst.IP.IsUnspecified()) }) {
		return nil
	}
	return fmt.Errorf("the pod has no default route by %s for %s", link.Attrs().Name, addrs[0])
}

// lacking is the first that is not among the others.
func lacking(want, have []netip.Addr) (netip.Addr, bool) {
	for _, a := range want {
		if !slices.Contains(have, a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// Wired says whether there is a wire, whole or not, for an interface of a pod. It is called in the host's network namespace.
func Wired(namespace, name, iface string) (bool, error) {
	host, err := newEnd()
	if err != nil {
		return false, err
	}
	defer host.Close()
	link, err := host.find(HostLink(namespace, name, iface), alias(namespace, name))
	if err != nil {
		return false, fmt.Errorf("looking for the wire of pod %s/%s: %w", namespace, name, err)
	}
	return link != nil, nil
}
