package wire

import "encoding/binary"

// EtherTypes that are read (IEEE 802 numbers).
const (
	typeIPv4     = 0x0800
	typeARP      = 0x0806
	typeVLAN     = 0x8100
	typeQinQ     = 0x88a8
	typeEthernet = 0x6558
	typeIPv6     = 0x86dd
)

// ethernet reads a frame and its VLAN tags.
func (r *reader) ethernet(p []byte, where string, depth int) {
	const addresses = 12
	if len(p) < addresses+2 {
		return
	}
	etherType, payload := binary.BigEndian.Uint16(p[addresses:]), p[addresses+2:]
	for (etherType == typeVLAN || etherType == typeQinQ) && len(payload) >= 4 {
		etherType, payload = binary.BigEndian.Uint16(payload[2:]), payload[4:]
	}
	r.network(etherType, payload, where, depth)
}

// network reads what an EtherType announces.
func (r *reader) network(etherType uint16, p []byte, where string, depth int) {
	if depth > maxDepth {
		r.scan(p, where, depth)
		return
	}
	switch etherType {
	case typeIPv4:
		r.ipv4(p, where, depth+1)
	case typeIPv6:
		r.ipv6(p, where, depth+1)
	case typeARP:
		r.arp(p, join(where, "ARP"))
	case typeEthernet:
		r.ethernet(p, join(where, "Ethernet"), depth+1)
	default:
		r.scan(p, join(where, "unknown EtherType"), depth)
	}
}

// arp reads an IPv4 request or answer: both protocol addresses.
func (r *reader) arp(p []byte, where string) {
	const header = 8
	if len(p) < header {
		return
	}
	hardware, protocol := int(p[4]), int(p[5])
	sender := header + hardware
	target := sender + protocol + hardware
	if len(p) < target+protocol {
		return
	}
	r.address(p[sender:sender+protocol], join(where, "sender"))
	r.address(p[target:target+protocol], join(where, "target"))
}

// join names a place inside another one.
func join(outer, inner string) string {
	switch {
	case outer == "":
		return inner
	case inner == "":
		return outer
	}
	return outer + ": " + inner
}
