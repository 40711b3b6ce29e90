package podnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// Those of the kernel's devconf of IPv4 that a netlink message sets (include/uapi/linux/ip.h).
const (
	ipv4Forwarding = 1
	ipv4ARPIgnore  = 19
)

// errThere says that a link has the name already, on either end.
var errThere = errors.New("a link has the name")

// pair is a new wire, by the indexes of its ends.
type pair struct{ host, pod int }

// makeWire makes a wire and sets it up. Nothing is there that would have to be looked at or taken away, so that it takes fewer requests than
// converge, and most of them together. If it fails, the wire is gone again.
func makeWire(s Spec, result Result, pod *Sandbox) error {
	host, err := newBatch()
	if err != nil {
		return err
	}
	defer host.close()
	s.step("make the wire")
	p, err := host.makeVeth(s, result, pod)
	if err != nil {
		return fmt.Errorf("making veth %s: %w", result.HostLink, err)
	}
	if err := host.finish(s, result, pod, p); err != nil {
		gone := host.do(ask("removing it", unix.RTM_DELLINK, unix.NLM_F_ACK, header(p.host, 0)))
		return fmt.Errorf("setting up veth %s: %w", result.HostLink, errors.Join(err, gone))
	}
	return nil
}

// header is a link's, with what is to be of IFF_UP.
func header(index, up int) *nl.IfInfomsg {
	h := nl.NewIfInfomsg(unix.AF_UNSPEC)
	h.Index, h.Flags, h.Change = int32(index), uint32(up), uint32(up) //nolint:gosec // the kernel's own index, and a flag
	return h
}

func getLink(index int) *request {
	return ask("finding it", unix.RTM_GETLINK, unix.NLM_F_ACK, header(index, 0))
}

func (b *batch) makeVeth(s Spec, result Result, pod *Sandbox) (pair, error) {
	mtu := nl.Uint32Attr(uint32(s.MTU)) //nolint:gosec // checked
	create := ask("making it", unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, header(0, 0)).
		add(unix.IFLA_IFNAME, nl.ZeroTerminated(result.HostLink)).add(unix.IFLA_MTU, mtu).add(unix.IFLA_ADDRESS, result.HostMAC)
	// From 5.17 on the kernel would give each end a queue for every processor that may ever come, which is a quarter of what it costs to make a veth where
	// there are two. They are for XDP and GRO on the veth itself.
	queues := nl.Uint32Attr(1)
	create.add(unix.IFLA_NUM_TX_QUEUES, queues).add(unix.IFLA_NUM_RX_QUEUES, queues)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(s.Interface))
	peer.AddRtAttr(unix.IFLA_MTU, mtu)
	peer.AddRtAttr(unix.IFLA_ADDRESS, result.PodMAC)
	peer.AddRtAttr(unix.IFLA_NUM_TX_QUEUES, queues)
	peer.AddRtAttr(unix.IFLA_NUM_RX_QUEUES, queues)
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(pod.fd()))) //nolint:gosec // a descriptor
	create.AddData(info)
	find := getLink(0).add(unix.IFLA_IFNAME, nl.ZeroTerminated(result.HostLink))
	err := b.do(create, find)
	if create.err != nil {
		if errors.Is(create.err, unix.EEXIST) {
			return pair{}, fmt.Errorf("%w: %w", errThere, create.err)
		}
		return pair{}, create.err
	}
	if err != nil {
		return pair{}, err
	}
	link, err := find.link()
	if err != nil {
		return pair{}, err
	}
	return pair{host: link.Attrs().Index, pod: link.Attrs().ParentIndex}, nil
}

// link is the one that it was answered with.
func (r *request) link() (netlink.Link, error) {
	if len(r.answers) != 1 {
		return nil, fmt.Errorf("%s: %d answers", r.what, len(r.answers))
	}
	return netlink.LinkDeserialize(nil, r.answers[0])
}

// finish sets both ends up, the host's last: with its routes, the pod is reachable.
func (b *batch) finish(s Spec, result Result, pod *Sandbox, p pair) error {
	s.step("name the wire")
	sysctls, err := b.name(s, p.host)
	if err != nil {
		return err
	}
	s.step("prepare the host's end")
	if err := sysctls(s, result.HostLink); err != nil {
		return err
	}
	if err := b.do(ask("setting the host's end up", unix.RTM_SETLINK, unix.NLM_F_ACK, header(p.host, unix.IFF_UP))); err != nil {
		return err
	}
	s.step("set the pod's end up")
	if err := pod.do(func() error { return finishPod(s, result, p.pod) }); err != nil {
		return fmt.Errorf("in the pod: %w", err)
	}
	s.step("set the host's end up")
	return b.finishHost(s, result, p.host)
}

// name says whose a new link is and, where the kernel takes it by this way, what some of its sysctls are to be: it gives what sets the rest. To
// write one of them to /proc is to try until nobody else changes links, at the cost of a processor, and to read one may be.
func (b *batch) name(s Spec, index int) (rest func(Spec, string) error, err error) {
	named := func() *request {
		return ask("naming it", unix.RTM_SETLINK, unix.NLM_F_ACK, header(index, 0)).add(unix.IFLA_IFALIAS, []byte(alias(s.Namespace, s.Name)))
	}
	r := named()
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	inet := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil)
	if ipv4, _ := s.families(); ipv4 {
		inet.AddRtAttr(ipv4Forwarding, nl.Uint32Attr(1))
	}
	inet.AddRtAttr(ipv4ARPIgnore, nl.Uint32Attr(answersNoARP))
	spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addressesByHand})
	r.AddData(spec)
	if err := b.do(r); !errors.Is(err, unix.EAFNOSUPPORT) {
		return unnamedSysctls, err
	}
	return hostSysctls, b.do(named()) // The kernel has no IPv6, or not for this link.
}

// finishPod is called in the pod's namespace.
func finishPod(s Spec, result Result, index int) error {
	if err := podSysctls(s); err != nil {
		return err
	}
	b, err := newBatch()
	if err != nil {
		return err
	}
	defer b.close()
	const loopback = 1 // in every namespace
	routes := ask("listing routes", unix.RTM_GETROUTE, unix.NLM_F_DUMP, nl.NewIfInfomsg(unix.AF_UNSPEC))
	all := []*request{
		ask("setting lo up", unix.RTM_SETLINK, unix.NLM_F_ACK, header(loopback, unix.IFF_UP)),
		ask("setting it up", unix.RTM_SETLINK, unix.NLM_F_ACK, header(index, unix.IFF_UP)), routes,
	}
	for _, a := range s.Addresses {
		all = append(all, newAddress(index, a, a.BitLen(), unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE))
	}
	if err := b.do(all...); err != nil {
		return err
	}
	look := getLink(index)
	all = []*request{look}
	var more []netip.Addr // the gateways that need a table of their own
	for _, gateway := range []netip.Addr{gateway4, gateway6} {
		switch {
		case len(s.of(gateway)) == 0:
		case routes.hasDefault(gateway):
			more = append(more, gateway)
		default:
			all = append(all, newNeighbour(index, gateway, result.HostMAC), newRoute("setting default route by", gateway, unix.NLM_F_REPLACE,
				&unix.RtMsg{Flags: unix.RTNH_F_ONLINK, Protocol: unix.RTPROT_BOOT}).
				add(unix.RTA_GATEWAY, gateway.AsSlice()).add(unix.RTA_OIF, nl.Uint32Attr(uint32(index)))) //nolint:gosec // an index
		}
	}
	if err := b.do(all...); err != nil {
		return err
	}
	_, ipv6 := s.families()
	if len(more) == 0 && !ipv6 && look.carries() {
		return nil
	}
	e, err := newEnd()
	if err != nil {
		return err
	}
	defer e.Close()
	var errs []error
	for _, gateway := range more {
		errs = append(errs, e.setGateway(index, gateway, s.of(gateway), result.HostMAC))
	}
	return errors.Join(append(errs, e.awaitAll(index, look.carries(), s.Addresses...))...)
}

// finishHost routes the pod's addresses to it.
func (b *batch) finishHost(s Spec, result Result, index int) error {
	look := getLink(index)
	all := []*request{look}
	_, ipv6 := s.families()
	if ipv6 { // With its /64, so that the node answers the pod's link-local addresses by this link.
		all = append(all, newAddress(index, gateway6, 64, unix.IFA_F_NODAD))
	}
	var routes []*request
	for _, a := range s.Addresses {
		route := newRoute("adding route to", a, unix.NLM_F_EXCL, &unix.RtMsg{
			Dst_len: uint8(a.BitLen()), Scope: unix.RT_SCOPE_LINK, Protocol: mesh.RouteProtocol, //nolint:gosec // at most 128
		}).add(unix.RTA_DST, a.AsSlice()).add(unix.RTA_OIF, nl.Uint32Attr(uint32(index))) //nolint:gosec // an index
		routes = append(routes, route)
		all = append(all, newNeighbour(index, a, result.PodMAC), route)
	}
	if err := b.do(all...); err != nil {
		for _, r := range routes {
			if errors.Is(r.err, unix.EEXIST) {
				err = fmt.Errorf("%w: %w", ErrTaken, err)
			}
		}
		return err
	}
	if !ipv6 && look.carries() {
		return nil
	}
	e, err := newEnd()
	if err != nil {
		return err
	}
	defer e.Close()
	var local []netip.Addr
	if ipv6 {
		local = []netip.Addr{gateway6}
	}
	return e.awaitAll(index, look.carries(), local...)
}

// awaitAll waits until packets pass and the IPv6 addresses among those are taken in.
func (e *end) awaitAll(index int, carries bool, addrs ...netip.Addr) error {
	if !carries {
		if err := e.awaitCarrier(index); err != nil {
			return err
		}
	}
	return e.awaitLocal(index, addrs...)
}

// carries says whether the link carries packets: to look makes the kernel notice.
func (r *request) carries() bool {
	link, err := r.link()
	return err == nil && link.Attrs().OperState == netlink.OperUp
}

// hasDefault says whether there is a default route of a gateway's family in the main table, or that cannot be said.
func (r *request) hasDefault(gateway netip.Addr) bool {
	if r.interrupted {
		return true
	}
	return slices.ContainsFunc(r.answers, func(answer []byte) bool {
		if len(answer) < unix.SizeofRtMsg {
			return true
		}
		m := nl.DeserializeRtMsg(answer)
		return int(m.Family) == family(gateway) && m.Table == unix.RT_TABLE_MAIN && m.Type == unix.RTN_UNICAST && m.Dst_len == 0
	})
}

func newAddress(index int, a netip.Addr, bits int, flags6 uint32) *request {
	h := nl.NewIfAddrmsg(family(a))
	h.Index, h.Prefixlen = uint32(index), uint8(bits) //nolint:gosec // an index, and at most 128
	r := ask(fmt.Sprintf("adding address %s", a), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, h)
	r.add(unix.IFA_LOCAL, a.AsSlice()).add(unix.IFA_ADDRESS, a.AsSlice())
	if a.Is6() {
		r.add(unix.IFA_FLAGS, nl.Uint32Attr(flags6))
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		h.Scope = unix.RT_SCOPE_LINK
	}
	return r
}

// newNeighbour is a permanent one: it is never asked for, and never forgotten.
func newNeighbour(index int, a netip.Addr, mac net.HardwareAddr) *request {
	return ask(fmt.Sprintf("setting neighbour %s", a), unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK,
		&netlink.Ndmsg{Family: uint8(family(a)), Index: uint32(index), State: netlink.NUD_PERMANENT}). //nolint:gosec // small
		add(netlink.NDA_DST, a.AsSlice()).add(netlink.NDA_LLADDR, mac)
}

// newRoute is one of the main table, of the family of an address.
func newRoute(what string, a netip.Addr, flags int, m *unix.RtMsg) *request {
	h := nl.NewRtMsg()
	h.Family, h.Dst_len, h.Scope, h.Protocol, h.Flags = uint8(family(a)), m.Dst_len, m.Scope, m.Protocol, m.Flags //nolint:gosec // small
	return ask(fmt.Sprintf("%s %s", what, a), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_ACK|flags, h)
}
