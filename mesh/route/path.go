package route

import (
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// PathMTU gives the MTU, in bytes, of the route by which the kernel sends to an address: that of the link it leaves by, or less where
// the route says so; 0 where no route leads there, or only to this node itself. What was found is remembered until ForgetPaths.
//
// It asks for the route as it was configured: not for what the kernel has learnt of a path from ICMP errors, which anyone may send.
func (r *Router) PathMTU(to netip.Addr) int { return r.paths.mtu(to) }

// ForgetPaths makes PathMTU ask the kernel again. To be called on an Event.
func (r *Router) ForgetPaths() { r.paths.forget() }

// paths are the MTUs of what was asked for.
type paths struct {
	mu sync.Mutex // guards what follows
	// handle is without strict checks: with them, the kernel refuses the flags with which netlink asks for an IPv6 route.
	handle *netlink.Handle
	byAddr map[netip.Addr]int
	// byLink are the links' by index: some thousand routes leave by few links.
	byLink map[int]int
}

func newPaths(handle *netlink.Handle) *paths {
	return &paths{handle: handle, byAddr: map[netip.Addr]int{}, byLink: map[int]int{}}
}

func (p *paths) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.byAddr)
	clear(p.byLink)
}

func (p *paths) mtu(to netip.Addr) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	mtu, ok := p.byAddr[to]
	if !ok {
		mtu = p.ask(to)
		p.byAddr[to] = mtu
	}
	return mtu
}

func (p *paths) ask(to netip.Addr) int {
	routes, err := p.handle.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if err != nil || len(routes) != 1 || routes[0].Type != unix.RTN_UNICAST {
		return 0
	}
	route := routes[0]
	hops := []int{route.LinkIndex}
	if len(route.MultiPath) > 0 {
		hops = hops[:0]
		for _, hop := range route.MultiPath {
			hops = append(hops, hop.LinkIndex)
		}
	}
	least := p.link(hops[0])
	for _, index := range hops[1:] {
		least = min(least, p.link(index))
	}
	if route.MTU != 0 {
		least = min(least, route.MTU)
	}
	return least
}

// link is a link's MTU, 0 where there is none any more.
func (p *paths) link(index int) int {
	if mtu, ok := p.byLink[index]; ok {
		return mtu
	}
	link, err := p.handle.LinkByIndex(index)
	if err != nil {
		return 0
	}
	p.byLink[index] = link.Attrs().MTU
	return link.Attrs().MTU
}
