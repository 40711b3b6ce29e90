package conntrack

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/policy"
)

// entry is one of conntrack's, as the kernel lists it.
type entry struct {
	policy.Flow
	// name is what the kernel finds it by, and no other: the tuple of its first packet, its zone and its number, as attributes.
	name []byte
	// over says that it is a TCP connection that has ended: nothing of it passes any more but the last answers.
	over bool
}

// read reads a message. A flow is as rules see it: the source is what the first packet had, and the destination is who answers, which is where
// a DNAT sent it; a source NAT comes after the rules.
func read(message []byte) (e entry, ok bool) {
	if len(message) < nl.SizeofNfgenmsg {
		return e, false
	}
	for a := range attributes(message[nl.SizeofNfgenmsg:]) {
		switch a.kind {
		case nl.CTA_TUPLE_ORIG:
			e.From, e.Protocol = source(a.data)
			e.name = append(e.name, a.whole...)
		case nl.CTA_TUPLE_REPLY:
			e.To, _ = source(a.data)
		case nl.CTA_ZONE, nl.CTA_ID:
			e.name = append(e.name, a.whole...)
		case nl.CTA_PROTOINFO:
			e.over = over(a.data)
		}
	}
	if !e.Ported() { // an ICMP tuple has other things in the ports' place
		e.From, e.To = netip.AddrPortFrom(e.From.Addr(), 0), netip.AddrPortFrom(e.To.Addr(), 0)
	}
	return e, e.From.IsValid() && e.To.IsValid()
}

// source is where packets of a tuple come from.
func source(tuple []byte) (from netip.AddrPort, protocol policy.Protocol) {
	var address netip.Addr
	var port uint16
	for part := range attributes(tuple) {
		for a := range attributes(part.data) {
			switch {
			case part.kind == nl.CTA_TUPLE_IP && (a.kind == nl.CTA_IP_V4_SRC || a.kind == nl.CTA_IP_V6_SRC):
				address, _ = netip.AddrFromSlice(a.data)
			case part.kind == nl.CTA_TUPLE_PROTO && a.kind == nl.CTA_PROTO_NUM && len(a.data) == 1:
				protocol = policy.Protocol(a.data[0])
			case part.kind == nl.CTA_TUPLE_PROTO && a.kind == nl.CTA_PROTO_SRC_PORT && len(a.data) == 2:
				port = binary.BigEndian.Uint16(a.data)
			}
		}
	}
	return netip.AddrPortFrom(address, port), protocol
}

func over(protoinfo []byte) bool {
	const timeWait, closed = 7, 8 // TCP_CONNTRACK_TIME_WAIT, TCP_CONNTRACK_CLOSE
	for part := range attributes(protoinfo) {
		if part.kind != nl.CTA_PROTOINFO_TCP {
			continue
		}
		for a := range attributes(part.data) {
			if a.kind == nl.CTA_PROTOINFO_TCP_STATE && len(a.data) == 1 {
				return a.data[0] == timeWait || a.data[0] == closed
			}
		}
	}
	return false
}

// attribute is one of netlink's.
type attribute struct {
	kind        int
	data, whole []byte
}

// attributes go over those that are one after the other, as far as they can be read.
func attributes(all []byte) iter.Seq[attribute] {
	return func(yield func(attribute) bool) {
		for len(all) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(all))
			next := (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
			if size < unix.SizeofNlAttr || next > len(all) {
				return
			}
			kind := int(binary.NativeEndian.Uint16(all[2:])) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(attribute{kind: kind, data: all[unix.SizeofNlAttr:size], whole: all[:next]}) {
				return
			}
			all = all[next:]
		}
	}
}
