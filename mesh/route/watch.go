package route

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// Kind says what an Event is about.
type Kind string

const (
	// Link is a link that came, changed or went.
	Link Kind = "link"
	// Address is an address that came, changed or went.
	Address Kind = "address"
	// Route is a route of the main table: one of the plan's that went, or one of somebody else's that came, changed or went.
	// The kernel does not tell of the IPv4 routes that go with a link or with their source address.
	Route Kind = "route"
	// Forwarding was switched off for all links of a family (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding).
	Forwarding Kind = "forwarding"
	// Everything may have changed: events were lost.
	Everything Kind = "everything"
)

// Event says that something changed, not how: who wants to know looks. Pods' links, and the adding of the plan's own
// routes, make no events.
type Event struct {
	Kind Kind
	// Link is the name of the link; empty where there is none or it is not known.
	Link string
}

const (
	// receiveBuffer, in bytes, takes a burst of some thousand changes.
	receiveBuffer = 4 << 20
	// resubscribeInterval is between two attempts to subscribe again.
	resubscribeInterval = time.Second
)

// Watch tells of the changes of links, addresses, routes and forwarding in the current network namespace until ctx ends; then it closes the
// channel, and holds no goroutine or descriptor any more. Events that nobody has taken yet are told once. What was lost, by an overrun of
// the socket's buffer or an error, is told as Everything.
func Watch(ctx context.Context) (<-chan Event, error) { return watchWithout(ctx, nil) }

// Watch is as the function, without what this Router removes itself. One Watch of a Router may run at a time.
func (r *Router) Watch(ctx context.Context) (<-chan Event, error) { return watchWithout(ctx, &r.own) }

func watchWithout(ctx context.Context, own *removals) (<-chan Event, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("opening current network namespace: %w", err)
	}
	w := &watcher{ns: ns, in: make(chan Event), own: own}
	socket, err := w.subscribe(netns.None())
	if err != nil {
		_ = ns.Close()
		return nil, err
	}
	out := make(chan Event)
	go w.run(ctx, socket)
	go coalesce(w.in, out)
	return out, nil
}

// watcher is what the reading goroutine has for itself.
type watcher struct {
	// ns is where to subscribe again.
	ns netns.NsHandle
	// names are the links' by index: most messages have only that.
	names map[int]string
	in    chan Event
	// own are removals that make no events.
	own *removals
}

// subscribe opens a socket in a namespace (netns.None for the current one), and after that reads the links' names.
func (w *watcher) subscribe(ns netns.NsHandle) (*nl.NetlinkSocket, error) {
	socket, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return nil, fmt.Errorf("subscribing to rtnetlink: %w", err)
	}
	if err := socket.SetReceiveBufferSize(receiveBuffer, true); err != nil {
		socket.Close()
		return nil, fmt.Errorf("enlarging receive buffer: %w", err)
	}
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("opening rtnetlink socket: %w", err)
	}
	defer handle.Close()
	w.own.listen()
	if w.names, err = linkNames(handle); err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}

// run reads until ctx ends, and subscribes again after every error.
func (w *watcher) run(ctx context.Context, socket *nl.NetlinkSocket) {
	defer close(w.in)
	defer func() { _ = w.ns.Close() }()
	for socket != nil {
		stop := context.AfterFunc(ctx, socket.Close)
		w.receive(socket)
		stop()
		socket.Close()
		if socket = w.resubscribe(ctx); socket != nil {
			w.in <- Event{Kind: Everything}
		}
	}
}

// resubscribe tries until it succeeds; it gives nil when ctx has ended.
func (w *watcher) resubscribe(ctx context.Context) *nl.NetlinkSocket {
	for ctx.Err() == nil {
		if socket, err := w.subscribe(w.ns); err == nil {
			return socket
		}
		select {
		case <-ctx.Done():
		case <-time.After(resubscribeInterval):
		}
	}
	return nil
}

// receive reads until the first error, which is unix.ENOBUFS for an overrun.
func (w *watcher) receive(socket *nl.NetlinkSocket) {
	for {
		messages, from, err := socket.Receive()
		if err != nil {
			return
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		for _, m := range messages {
			if e, ok := w.event(m); ok && !strings.HasPrefix(e.Link, mesh.PodLinkPrefix) {
				w.in <- e
			}
		}
	}
}

// event reads a message; it is false for one that is of no interest.
func (w *watcher) event(m syscall.NetlinkMessage) (Event, bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		link, err := netlink.LinkDeserialize(nil, m.Data)
		if err != nil {
			return Event{}, false
		}
		w.names[link.Attrs().Index] = link.Attrs().Name
		// A port that leaves its bridge is a DELLINK too, of that family.
		if m.Header.Type == unix.RTM_DELLINK && nl.DeserializeIfInfomsg(m.Data).Family != unix.AF_BRIDGE {
			delete(w.names, link.Attrs().Index)
		}
		return Event{Link, link.Attrs().Name}, true
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg {
			return Event{}, false
		}
		return Event{Address, w.names[int(nl.DeserializeIfAddrmsg(m.Data).Index)]}, true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return w.routeEvent(m)
	case unix.RTM_NEWNETCONF:
		return Event{Kind: Forwarding}, forwardingOff(m.Data)
	}
	return Event{}, false
}

// forwardingOff reads a netconfmsg (linux/netconf.h): a family, padded to four bytes, and attributes.
func forwardingOff(data []byte) bool {
	const (
		header, ifindex, forwarding = 4, 1, 2
		all                         = 0xffffffff // NETCONFA_IFINDEX_ALL
	)
	if len(data) < header {
		return false
	}
	attributes, err := nl.ParseRouteAttr(data[header:])
	if err != nil {
		return false
	}
	values := map[uint16]uint32{}
	for _, a := range attributes {
		if len(a.Value) == 4 {
			values[a.Attr.Type] = nl.NativeEndian().Uint32(a.Value)
		}
	}
	value, told := values[forwarding]
	return values[ifindex] == all && told && value == 0
}

func (w *watcher) routeEvent(m syscall.NetlinkMessage) (Event, bool) {
	if len(m.Data) < unix.SizeofRtMsg {
		return Event{}, false
	}
	route := nl.DeserializeRtMsg(m.Data)
	if route.Table != unix.RT_TABLE_MAIN && route.Table != mesh.MigrationTable || route.Flags&unix.RTM_F_CLONED != 0 ||
		route.Protocol == mesh.RouteProtocol && m.Header.Type == unix.RTM_NEWROUTE {
		return Event{}, false
	}
	attributes, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	if err != nil {
		return Event{}, false
	}
	e := Event{Kind: Route}
	var destination netip.Prefix
	for _, a := range attributes {
		switch {
		case a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4:
			e.Link = w.names[int(nl.NativeEndian().Uint32(a.Value))]
		case a.Attr.Type == unix.RTA_DST:
			if addr, ok := netip.AddrFromSlice(a.Value); ok {
				destination = netip.PrefixFrom(addr, int(route.Dst_len))
			}
		}
	}
	if route.Protocol == mesh.RouteProtocol && w.own.told(destination) {
		return Event{}, false
	}
	return e, true
}

// coalesce passes events on, each once as long as it waits, and never makes in wait. It closes out when in is closed.
func coalesce(in <-chan Event, out chan<- Event) {
	defer close(out)
	var waiting []Event
	for {
		var next Event
		var ready chan<- Event
		if len(waiting) > 0 {
			next, ready = waiting[0], out
		}
		select {
		case e, ok := <-in:
			if !ok {
				return
			}
			if !slices.Contains(waiting, e) {
				waiting = append(waiting, e)
			}
		case ready <- next:
			waiting = waiting[1:]
		}
	}
}
