package mesh

import "net/netip"

// Addresses are the mesh addresses that follow from a node's pod CIDRs: base + 1 of the first one of each family.
func Addresses(podCIDRs []netip.Prefix) []netip.Addr {
	var addrs []netip.Addr
	var have4, have6 bool
	for _, p := range podCIDRs {
		have := &have6
		if p.Addr().Is4() {
			have = &have4
		}
		if *have {
			continue
		}
		*have = true
		addr := p.Addr().Next()
		if !p.Contains(addr) { // a /32 or /128: there is no base + 1
			addr = p.Addr()
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// laneRoutes lead to a peer's allowed IPs, with the mesh address of the same family as source. Without one the peer's prefix stays
// unreachable: the peer could not answer what has no source in the mesh. An mtu of 0 is the lane's. They are never nil.
func laneRoutes(device string, migrating bool, mesh []netip.Addr, allowed []netip.Prefix, mtu int) []*Route {
	routes := make([]*Route, 0, len(allowed))
	for _, p := range allowed {
		for _, source := range mesh {
			if source.Is4() == p.Addr().Is4() {
				route := &Route{Destination: p, Device: device, Source: source, MTU: mtu}
				route.Place(migrating)
				routes = append(routes, route)
			}
		}
	}
	return routes
}

// unreachable are the routes that lie under the lanes': a peer that is missing is an error at once, and never the default route.
func unreachable(cluster []netip.Prefix) []*Route {
	routes := make([]*Route, len(cluster))
	for i, p := range cluster {
		routes[i] = &Route{Destination: p, Metric: UnreachableMetric}
	}
	return routes
}

func hostPrefixes(addrs []netip.Addr) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(addrs))
	for i, addr := range addrs {
		prefixes[i] = netip.PrefixFrom(addr, addr.BitLen())
	}
	return prefixes
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// containedInAny says whether inner lies wholly inside one of outers.
func containedInAny(inner netip.Prefix, outers []netip.Prefix) bool {
	for _, outer := range outers {
		if outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr()) {
			return true
		}
	}
	return false
}
