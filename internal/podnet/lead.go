package podnet

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
)

// Lead is a link of the host that leads to a pod which another plugin has wired. Links of one name that come one after the other have other
// indexes.
type Lead struct {
	Link  string
	Index int
}

// Leads finds them, in the network namespace in which it was made. Its methods may be called concurrently.
type Leads struct{ host *end }

// NewLeads opens rtnetlink.
func NewLeads() (*Leads, error) {
	host, err := newEnd()
	if err != nil {
		return nil, err
	}
	// The library asks for IPv6 routes with a flag that the kernel does not take with strict checks.
	if err := host.SetStrictCheck(false); err != nil {
		host.Close()
		return nil, fmt.Errorf("asking rtnetlink for no strict checks: %w", err)
	}
	return &Leads{host}, nil
}

// Close lets go of rtnetlink.
func (l *Leads) Close() { l.host.Close() }

// Links are the indexes of all links of the host, by name.
func (l *Leads) Links() (map[string]int, error) {
	links, err := dump.Undisturbed(l.host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing the links: %w", err)
	}
	out := make(map[string]int, len(links))
	for _, link := range links {
		out[link.Attrs().Name] = link.Attrs().Index
	}
	return out, nil
}

// ErrShared says that what a pod sends comes by no link of its own.
var ErrShared = errors.New("the pod has no routed link of its own")

// want ends what is said of such a pod.
const want = "want a plugin that routes to each pod by a veth of its own, as ptp does"

// To is the one link that leads to all of a pod's addresses and to nothing else. named are links of which the plugin that wired the pod says that they
// are the host's: it knows of one behind a bridge, which routes do not.
func (l *Leads) To(addrs []netip.Addr, named []string) (Lead, error) {
	for _, name := range named {
		link, err := l.host.LinkByName(name)
		if err != nil {
			continue // What plugins say is not always so; the routes are.
		}
		if err := l.alone(link); err != nil {
			return Lead{}, err
		}
	}
	var found Lead
	for _, a := range addrs {
		link, err := l.to(a)
		if err != nil {
			return Lead{}, err
		}
		lead := Lead{Link: link.Attrs().Name, Index: link.Attrs().Index}
		if found != (Lead{}) && lead != found {
			return Lead{}, fmt.Errorf("%w: link %s leads to %s, and link %s to another address of it; %s", ErrShared, lead.Link, a, found.Link, want)
		}
		found = lead
	}
	if found == (Lead{}) {
		return found, errors.New("the pod has no address")
	}
	return found, nil
}

// to is the link that leads to an address and to no other by the same route.
func (l *Leads) to(a netip.Addr) (netlink.Link, error) {
	routes, err := l.host.RouteGetWithOptions(a.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if err != nil {
		return nil, fmt.Errorf("finding the route to %s: %w", a, err)
	}
	if len(routes) != 1 || routes[0].Type != unix.RTN_UNICAST || len(routes[0].MultiPath) > 0 {
		return nil, fmt.Errorf("%w: %s is the node's own, or no one link leads to it; %s", ErrShared, a, want)
	}
	link, err := l.host.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return nil, fmt.Errorf("finding the link that leads to %s: %w", a, err)
	}
	name := link.Attrs().Name
	if link.Type() == "bridge" {
		return nil, fmt.Errorf("%w: bridge %s leads to %s, and what pods of one bridge send each other passes none of the node's rules; %s",
			ErrShared, name, a, want)
	}
	if err := l.alone(link); err != nil {
		return nil, err
	}
	if link.Type() != "veth" {
		return nil, fmt.Errorf("%w: link %s leads to %s, and it is of type %s; %s", ErrShared, name, a, link.Type(), want)
	}
	dst := routes[0].Dst
	if dst == nil || len(routes[0].Gw) > 0 {
		return nil, fmt.Errorf("%w: %s is reached by the default route or a gateway; %s", ErrShared, a, want)
	}
	if ones, bits := dst.Mask.Size(); ones != bits {
		return nil, fmt.Errorf("%w: link %s leads to all of %s, and not to %s alone; %s", ErrShared, name, dst, a, want)
	}
	return link, nil
}

// alone is an error where a link is another's port, by whose name the node's rules would know what comes by it.
func (l *Leads) alone(link netlink.Link) error {
	index := link.Attrs().MasterIndex
	if index == 0 {
		return nil
	}
	kind, name := "link", fmt.Sprintf("number %d", index)
	if master, err := l.host.LinkByIndex(index); err == nil {
		kind, name = master.Type(), master.Attrs().Name
	}
	return fmt.Errorf("%w: link %s is a port of %s %s, and what pods behind that send each other passes none of the node's rules; %s",
		ErrShared, link.Attrs().Name, kind, name, want)
}
