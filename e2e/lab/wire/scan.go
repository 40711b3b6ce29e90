package wire

import (
	"encoding/binary"
	"net/netip"
)

// scan looks for an IP header at every offset of a payload that nothing above reads: so a tunnel need not be known to
// be found (VXLAN, Geneve, FOU, or one of somebody's own). Only a header that is right in every respect counts, as
// random bytes must not; one in about 10^12 of them does.
func (r *reader) scan(p []byte, where string, depth int) {
	if depth > maxDepth {
		return
	}
	for at := range p {
		switch p[at] >> 4 {
		case 4:
			if r.isIPv4Header(p[at:]) {
				r.ipv4(p[at:], join(where, "a header within"), maxDepth+1)
				return
			}
		case 6:
			if r.isIPv6Header(p[at:]) {
				r.ipv6(p[at:], join(where, "a header within"), maxDepth+1)
				return
			}
		}
	}
}

// isIPv4Header says whether a whole IPv4 packet with a pod's address begins here.
func (r *reader) isIPv4Header(p []byte) bool {
	size := int(p[0]&0x0f) * 4
	if size < 20 || len(p) < size {
		return false
	}
	if total := int(binary.BigEndian.Uint16(p[2:])); total < size || total > len(p) {
		return false
	}
	source, destination := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	return (r.isPod(source) || r.isPod(destination)) && p[8] != 0 && checksum(p[:size]) == 0
}

// isIPv6Header says whether a whole IPv6 packet with a pod's address begins here. There is no checksum to go by, but
// 16 bytes of address.
func (r *reader) isIPv6Header(p []byte) bool {
	const header = 40
	if len(p) < header || header+int(binary.BigEndian.Uint16(p[4:])) > len(p) {
		return false
	}
	source, destination := netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
	return r.isPod(source) || r.isPod(destination)
}

// checksum is the Internet checksum (RFC 1071): 0 over a header that holds its right one.
func checksum(p []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
