package ipam

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// maxUsable is how many addresses of one prefix are handed out. A node has some hundred pods: of a /64 its first addresses do, and what is
// to be remembered of them has a bound.
const maxUsable = 1 << 14

// firstUsable is the offset of the first address that a pod may have: before it are the network's own and the mesh address.
const firstUsable = 2

// usable is how many addresses of the prefix pods may have: from base+2 on, and of IPv4 without the last, the broadcast address.
func usable(p netip.Prefix) uint64 {
	bits := p.Addr().BitLen() - p.Bits()
	if bits > 32 {
		return maxUsable
	}
	size := uint64(1) << bits
	reserved := uint64(firstUsable)
	if p.Addr().Is4() {
		reserved++
	}
	if size <= reserved {
		return 0
	}
	return min(size-reserved, maxUsable)
}

// address is the i-th that pods may have, from 0.
func address(p netip.Prefix, i uint64) netip.Addr {
	raw := p.Masked().Addr().As16()
	low := binary.BigEndian.Uint64(raw[8:])
	binary.BigEndian.PutUint64(raw[8:], low+firstUsable+i)
	if p.Addr().Is4() {
		return netip.AddrFrom16(raw).Unmap()
	}
	return netip.AddrFrom16(raw)
}

// within says whether a pod may have the address, out of this prefix.
func within(p netip.Prefix, a netip.Addr) bool {
	if !p.Contains(a) {
		return false
	}
	base, raw := p.Masked().Addr().As16(), a.As16()
	if binary.BigEndian.Uint64(raw[:8]) != binary.BigEndian.Uint64(base[:8]) {
		return false // Of a prefix shorter than /64, beyond what is handed out.
	}
	offset := binary.BigEndian.Uint64(raw[8:]) - binary.BigEndian.Uint64(base[8:])
	return offset >= firstUsable && offset-firstUsable < usable(p)
}

// covered says whether one of the prefixes has the address.
func covered(a netip.Addr, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
