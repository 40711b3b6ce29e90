package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// defaultMetric6 is what the kernel makes of an IPv6 route's metric 0 (IP6_RT_PRIO_USER).
const defaultMetric6 = 1024

// entry is a route of the plan as the kernel holds it.
type entry struct {
	// Route has the metric that the kernel shows.
	mesh.Route
	// link is the index of the device; 0 for none.
	link int
	// kind is the route's type, RTN_UNICAST or RTN_UNREACHABLE.
	kind int
	// odd is true for a route of our protocol that has more to it than a mesh.Route can say: it equals none of ours.
	odd bool
}

// slot is what a table holds one route of.
type slot struct {
	table       uint32
	destination netip.Prefix
	metric      uint32
}

func (e entry) slot() slot { return slot{e.Table, e.Destination, e.Metric} }

// wanted is the entry for a route of the plan. link is the index of its device, 0 for an unreachable route.
func wanted(route *mesh.Route, link int) entry {
	r := *route
	if r.Metric == 0 && r.Destination.Addr().Is6() {
		r.Metric = defaultMetric6
	}
	e := entry{Route: r, link: link, kind: unix.RTN_UNICAST}
	if r.Unreachable() {
		e.kind = unix.RTN_UNREACHABLE
	}
	return e
}

// found is the entry for a route of the kernel's. device is the name of its link.
func found(r netlink.Route, device string) (entry, error) {
	destination, err := prefix(r.Dst)
	if err != nil {
		return entry{}, err
	}
	e := entry{
		Route: mesh.Route{Destination: destination, Device: device, Metric: uint32(r.Priority), MTU: r.MTU}, // #nosec G115 -- 32 bits in the message
		link:  r.LinkIndex,
		kind:  r.Type,
		odd:   r.Gw != nil || r.Via != nil || r.Encap != nil || len(r.MultiPath) > 0 || r.Tos != 0 || r.MTULock,
	}
	if r.Table != unix.RT_TABLE_MAIN {
		e.Table = uint32(r.Table) // #nosec G115 -- 32 bits in the message
	}
	if source, ok := netip.AddrFromSlice(r.Src); ok {
		e.Source = source
	}
	if r.Type == unix.RTN_UNREACHABLE {
		// The kernel shows an IPv6 one on lo.
		e.Device, e.link = "", 0
	}
	return e, nil
}

// message is the route as netlink wants it for adding.
func (e entry) message() *netlink.Route {
	r := &netlink.Route{
		Dst:       ipNet(e.Destination),
		LinkIndex: e.link,
		Priority:  int(e.Metric),
		Protocol:  mesh.RouteProtocol,
		Table:     unix.RT_TABLE_MAIN,
		Type:      e.kind,
		MTU:       e.MTU,
	}
	if e.Table != 0 {
		r.Table = int(e.Table)
	}
	if e.Source.IsValid() {
		r.Src = e.Source.AsSlice()
	}
	if e.kind == unix.RTN_UNICAST {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

// removal is the route as netlink wants it for deleting. It names type and protocol, since a metric of 0 matches any other.
func (e entry) removal() *netlink.Route {
	r := e.message()
	r.Src, r.MTU = nil, 0
	r.Scope = netlink.SCOPE_NOWHERE
	return r
}

// String is the route as ip shows it, less what is the same for all.
func (e entry) String() string {
	text := e.Destination.String()
	if e.kind == unix.RTN_UNREACHABLE {
		text = "unreachable " + text
	}
	if e.Device != "" {
		text += " dev " + e.Device
	}
	if e.Source.IsValid() {
		text += " src " + e.Source.String()
	}
	if e.Metric != 0 {
		text += fmt.Sprintf(" metric %d", e.Metric)
	}
	if e.MTU != 0 {
		text += fmt.Sprintf(" mtu %d", e.MTU)
	}
	if e.Table != 0 {
		text += fmt.Sprintf(" table %d", e.Table)
	}
	return text
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefix(n *net.IPNet) (netip.Prefix, error) {
	if n == nil {
		return netip.Prefix{}, errors.New("reading prefix: none given")
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || size != addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("reading prefix %s: not an IPv4 or IPv6 prefix", n)
	}
	return netip.PrefixFrom(addr, bits), nil
}
