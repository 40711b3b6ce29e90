package wire

import "encoding/binary"

// IP protocol numbers that are read (IANA).
const (
	protoHopByHop    = 0
	protoICMP        = 1
	protoIPIP        = 4
	protoUDP         = 17
	protoIPv6        = 41
	protoRouting     = 43
	protoFragment    = 44
	protoGRE         = 47
	protoAH          = 51
	protoICMPv6      = 58
	protoDestination = 60
)

// ip reads a packet of either family, as a tunnel or an error carries it.
func (r *reader) ip(p []byte, where string, depth int) {
	if len(p) == 0 {
		return
	}
	switch p[0] >> 4 {
	case 4:
		r.network(typeIPv4, p, where, depth)
	case 6:
		r.network(typeIPv6, p, where, depth)
	}
}

func (r *reader) ipv4(p []byte, where string, depth int) {
	const header = 20
	if len(p) < header {
		return
	}
	r.address(p[12:16], join(where, "IPv4 source"))
	r.address(p[16:20], join(where, "IPv4 destination"))
	size := int(p[0]&0x0f) * 4
	if size < header || size > len(p) {
		return
	}
	if total := int(binary.BigEndian.Uint16(p[2:])); total >= size && total < len(p) {
		p = p[:total] // the rest is the link's padding
	}
	if offset := binary.BigEndian.Uint16(p[6:]) & 0x1fff; offset != 0 {
		r.scan(p[size:], join(where, "IPv4 fragment"), depth)
		return
	}
	r.transport(p[9], p[size:], where, depth)
}

func (r *reader) ipv6(p []byte, where string, depth int) {
	const header = 40
	if len(p) < header {
		return
	}
	r.address(p[8:24], join(where, "IPv6 source"))
	r.address(p[24:40], join(where, "IPv6 destination"))
	if total := header + int(binary.BigEndian.Uint16(p[4:])); total < len(p) {
		p = p[:total]
	}
	next, rest := p[6], p[header:]
	for len(rest) >= 8 {
		size := 0
		switch next {
		case protoHopByHop, protoDestination:
			size = (int(rest[1]) + 1) * 8
		case protoRouting:
			size = (int(rest[1]) + 1) * 8
			r.segments(rest, size, join(where, "IPv6 routing header"))
		case protoAH:
			size = (int(rest[1]) + 2) * 4
		case protoFragment:
			size = 8
			if binary.BigEndian.Uint16(rest[2:])>>3 != 0 {
				r.scan(rest[size:], join(where, "IPv6 fragment"), depth)
				return
			}
		}
		if size == 0 || size > len(rest) {
			break
		}
		next, rest = rest[0], rest[size:]
	}
	r.transport(next, rest, where, depth)
}

// segments reads the addresses of a routing header, types 0, 2 and 4.
func (r *reader) segments(p []byte, size int, where string) {
	for at := 8; at+16 <= min(size, len(p)); at += 16 {
		r.address(p[at:at+16], where)
	}
}

// transport reads what an IP protocol number announces.
func (r *reader) transport(proto byte, p []byte, where string, depth int) {
	switch proto {
	case protoUDP:
		r.udp(p, where, depth)
	case protoICMP:
		r.icmp(p, where, depth)
	case protoICMPv6:
		r.icmpv6(p, where, depth)
	case protoIPIP, protoIPv6:
		r.ip(p, join(where, "IP in IP"), depth)
	case protoGRE:
		r.gre(p, join(where, "GRE"), depth)
	default:
		r.scan(p, join(where, "payload"), depth)
	}
}

// gre reads a tunnelled packet (RFC 2784, RFC 2890).
func (r *reader) gre(p []byte, where string, depth int) {
	if len(p) < 4 {
		return
	}
	size := 4
	for _, flag := range []byte{0x80, 0x20, 0x10} { // checksum, key, sequence number: four bytes each
		if p[0]&flag != 0 {
			size += 4
		}
	}
	if len(p) >= size {
		r.network(binary.BigEndian.Uint16(p[2:]), p[size:], where, depth)
	}
}
