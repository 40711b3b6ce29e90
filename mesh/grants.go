package mesh

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// grant is one pod CIDR of one node.
type grant struct {
	prefix netip.Prefix
	node   *Node
}

// compare is netip.Prefix.Compare for prefixes that are masked already, as grants are: IPv4 first, outermost first.
func (g grant) compare(o grant) int {
	return placeOf(g.prefix, 0).compare(placeOf(o.prefix, 0))
}

// place is where a prefix stands among others, as numbers: thousands are sorted at each event.
type place struct {
	high, low uint64
	bits      int16
	ipv6      bool
	index     int32
}

func placeOf(p netip.Prefix, index int) place {
	raw := p.Addr().As16()
	return place{
		high: binary.BigEndian.Uint64(raw[:8]), low: binary.BigEndian.Uint64(raw[8:]),
		bits: int16(p.Bits()), ipv6: p.Addr().Is6(), index: int32(index), //nolint:gosec // bounded
	}
}

// prefix is the one whose place it is.
func (p place) prefix() netip.Prefix {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], p.high)
	binary.BigEndian.PutUint64(raw[8:], p.low)
	addr := netip.AddrFrom16(raw)
	if !p.ipv6 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, int(p.bits))
}

// compare orders by address, IPv4 first, and then outermost first.
func (p place) compare(o place) int {
	switch {
	case p.ipv6 != o.ipv6:
		if o.ipv6 {
			return -1
		}
		return 1
	case p.high != o.high:
		return cmp.Compare(p.high, o.high)
	case p.low != o.low:
		return cmp.Compare(p.low, o.low)
	}
	return int(p.bits - o.bits)
}

// checkGrants refuses the grants that are outside the cluster's pod CIDRs or overlap an older node's. The index is of the others.
func (c *computation) checkGrants(nodes []*Node) grantIndex {
	all := make([]grant, 0, 2*len(nodes)) // as many as there are in a dual-stack cluster
	places := make([]place, 0, 2*len(nodes))
	for _, n := range nodes {
		for _, p := range n.Grants {
			if why := c.outside(p); why != "" {
				c.refuseGrant(grant{p, n}, OutsideCluster, "pod CIDR %s %s", p, why)
				continue
			}
			places = append(places, placeOf(p, len(all)))
			all = append(all, grant{p, n})
		}
	}
	// CIDRs are nested or apart. Sorted, each outermost one is followed by all that lies inside it.
	slices.SortFunc(places, place.compare)
	index := grantIndex{places: places, apart: true}
	for len(places) > 0 {
		outermost, end := all[places[0].index].prefix, 1
		for end < len(places) && outermost.Overlaps(all[places[end].index].prefix) {
			end++
		}
		if end > 1 {
			index.apart = false
			group := make([]grant, end)
			for i, p := range places[:end] {
				group[i] = all[p.index]
			}
			c.settle(group)
		}
		places = places[end:]
	}
	return index
}

// grantIndex are grants in order. Only where all are apart from each other can it be changed.
type grantIndex struct {
	places []place
	apart  bool
}

// add enters a grant, unless it overlaps another: nothing is changed then.
func (x *grantIndex) add(p netip.Prefix) bool {
	entry := placeOf(p, 0)
	at, found := slices.BinarySearchFunc(x.places, entry, place.compare)
	if found || at > 0 && x.places[at-1].prefix().Overlaps(p) || at < len(x.places) && x.places[at].prefix().Overlaps(p) {
		return false
	}
	x.places = slices.Insert(x.places, at, entry)
	return true
}

func (x *grantIndex) remove(p netip.Prefix) {
	if at, found := slices.BinarySearchFunc(x.places, placeOf(p, 0), place.compare); found {
		x.places = slices.Delete(x.places, at, at+1)
	}
}

// settle decides among grants that overlap: the older node's holds. A node's own may overlap each other.
func (c *computation) settle(group []grant) {
	slices.SortStableFunc(group, func(a, b grant) int { return older(a.node, b.node) })
	// held are the outermost of those that hold so far. They are sorted and apart, so that what overlaps one more is a run of
	// them: thousands of grants inside a wide one cost little more than they do without it.
	var held []*grant
	for i := range group {
		g := &group[i]
		start, _ := slices.BinarySearchFunc(held, g, func(a, b *grant) int { return a.compare(*b) })
		if start > 0 && held[start-1].prefix.Overlaps(g.prefix) {
			start--
		}
		end := start
		for end < len(held) && held[end].node == g.node && held[end].prefix.Overlaps(g.prefix) {
			end++
		}
		if end < len(held) && held[end].prefix.Overlaps(g.prefix) {
			other := held[end]
			c.refuseGrant(*g, Overlap, "pod CIDR %s overlaps %s of node %s, which is older", g.prefix, other.prefix, other.node.Name)
			continue
		}
		if start == end || g.prefix.Bits() < held[start].prefix.Bits() {
			held = slices.Replace(held, start, end, g)
		}
	}
}

func (c *computation) refuseGrant(g grant, reason Reason, format string, args ...any) {
	c.refuse(g.node.Name, reason, format, args...)
	if c.refused == nil {
		c.refused = make(map[*Node][]netip.Prefix)
	}
	c.refused[g.node] = append(c.refused[g.node], g.prefix)
}

// accepted are the node's grants that checkGrants did not refuse.
func (c *computation) accepted(n *Node) []netip.Prefix {
	refused := c.refused[n]
	if len(refused) == 0 {
		return n.Grants
	}
	var accepted []netip.Prefix
	for _, p := range n.Grants {
		if !slices.Contains(refused, p) {
			accepted = append(accepted, p)
		}
	}
	return accepted
}

func (c *computation) outside(p netip.Prefix) string {
	if !containedInAny(p, c.local.ClusterCIDRs) {
		return "is outside the cluster's pod CIDRs (" + join(c.local.ClusterCIDRs) + ")"
	}
	for _, service := range c.local.ServiceCIDRs {
		if service.Overlaps(p) {
			return "overlaps the service CIDR " + service.String()
		}
	}
	return ""
}
