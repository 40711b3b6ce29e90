package mesh

import (
	"net/netip"
	"slices"
)

// The bytes that WireGuard adds to a packet: an outer IP header (20 or 40), UDP (8) and its own header and tag (32).
const (
	OverheadIPv4 = 60
	OverheadIPv6 = 80
)

// MinMTU is the least that a lane has of itself, in bytes: what every link with IPv6 must carry (RFC 8200, section 5). Where the
// underlay carries less than that takes, it carries WireGuard's packets in fragments.
const MinMTU = 1280

// inside is the largest packet that fits whole, in WireGuard's, on the underlay's route to an endpoint; 0 where no route is known.
func (l Local) inside(endpoint netip.Addr) int {
	if l.PathMTU == nil {
		return 0
	}
	path := l.PathMTU(endpoint)
	if path == 0 {
		return 0
	}
	return within(path, endpoint.Is6())
}

func within(path int, ipv6 bool) int {
	if ipv6 {
		return max(path-OverheadIPv6, MinMTU)
	}
	return max(path-OverheadIPv4, MinMTU)
}

// laneMTU is the largest toward any peer, where one is known: the routes to the others say what they take less. Where nothing is known of any, it is what
// the node's own links take, with room for the larger outer header wherever the node has an IPv6 address.
func laneMTU(local Local, largest int) int {
	if local.MTU != 0 {
		return local.MTU
	}
	if largest != 0 {
		return largest
	}
	if local.UnderlayMTU == 0 {
		return 0
	}
	return within(local.UnderlayMTU, slices.ContainsFunc(local.Addresses, netip.Addr.Is6))
}

// padding is what WireGuard rounds a packet's size up to, in bytes, but for packets of nearly the device's MTU: those it fills up to
// that (section 5.4.6 of its paper).
const padding = 16

// routeMTU is what a route to a peer says, 0 where that is what the lane takes. It leaves no room for padding, so that no packet
// is sent in fragments for that. An MTU that was configured holds for all.
func routeMTU(local Local, lane, peer int) int {
	if local.MTU != 0 || peer >= lane {
		return 0
	}
	return peer &^ (padding - 1)
}
