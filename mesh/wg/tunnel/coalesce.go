package tunnel

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// lookBack is among how many packets at most one looks for those that it follows: as many streams may take turns.
const lookBack = 16

// segment is a packet of a stream of TCP, or of UDP.
type segment struct {
	packet []byte
	udp    bool
	// transport and payload are where the transport header and the payload begin.
	transport, payload int
}

// segmentOf says whether a packet may become a part of a larger one: it has payload and, of TCP, no flags but ACK and perhaps PSH. What is no whole packet
// of those, or has options of IP, is nothing.
func segmentOf(p []byte) (s segment, ok bool) {
	if len(p) < header4+udpHeader {
		return s, false
	}
	transport, length, protocol := header4, int(binary.BigEndian.Uint16(p[2:])), p[9]
	switch {
	case p[0]>>4 == 6:
		transport, length, protocol = header6, header6+int(binary.BigEndian.Uint16(p[4:])), p[6]
	case p[0] != 4<<4|header4/4 || binary.BigEndian.Uint16(p[6:])&fragmented != 0:
		return s, false
	}
	switch {
	case length != len(p):
		return s, false
	case protocol == unix.IPPROTO_UDP && len(p) >= transport+udpHeader:
		s = segment{p, true, transport, transport + udpHeader}
		l4 := p[transport:]
		has := binary.BigEndian.Uint16(l4[udpChecksum:]) != 0 // Else it would be given one.
		return s, s.payload < len(p) && int(binary.BigEndian.Uint16(l4[udpLength:])) == len(l4) && has
	case protocol == unix.IPPROTO_TCP && len(p) >= transport+tcpHeader:
		s = segment{p, false, transport, transport + int(p[transport+tcpOffset]>>4)*4}
		return s, s.payload >= transport+tcpHeader && s.payload < len(p) && p[transport+tcpFlags]&^tcpPSH == tcpACK
	}
	return s, false
}

// size is that of the payload, in bytes.
func (s segment) size() int { return len(s.packet) - s.payload }

// sequence is where the payload begins in the stream, of TCP.
func (s segment) sequence() uint32 {
	return binary.BigEndian.Uint32(s.packet[s.transport+tcpSequence:])
}

// last says that nothing is to follow it.
func (s segment) last() bool { return !s.udp && s.packet[s.transport+tcpFlags]&tcpPSH != 0 }

// stream is its addresses and ports; nothing of what is nothing.
func (s segment) stream() []byte {
	const ports = 4
	switch s.transport {
	case header4:
		return s.packet[12 : header4+ports]
	case header6:
		return s.packet[8 : header6+ports]
	}
	return nil
}

// like says whether two of one stream differ in nothing but what each has of its own: length, identification, checksums, sequence number and PSH. It is
// what the kernel asks before it joins two (inet_gro_receive, tcp_gro_receive).
func (s segment) like(o segment) bool {
	same := func(from, to int) bool { return bytes.Equal(s.packet[from:to], o.packet[from:to]) }
	if s.payload != o.payload {
		return false
	}
	if s.transport == header4 {
		if !same(0, 2) || !same(6, 10) {
			return false
		}
	} else if !same(0, 4) || !same(6, 8) {
		return false
	}
	t := s.transport
	return s.udp || same(t+tcpAck, t+tcpFlags) && same(t+tcpFlags+1, t+tcpChecksum) && same(t+tcpChecksum+2, s.payload)
}

// large is a packet as it is written: alone, or of a stream's segments that follow each other.
type large struct {
	segment
	// parts are the first packet, behind its virtio_net_hdr, and the payloads of the others.
	parts [][]byte
	// each is the payload of each segment but the last, which may have less; length is that of the packet, in bytes.
	each, length int
	next         uint32
	ended        bool
}

// begin makes it one of a packet that is in buf behind offset bytes. Something may follow it where it is whole.
func (l *large) begin(buf []byte, offset int, s segment, whole bool) {
	*l = large{segment: s, parts: append(l.parts[:0], buf[offset-virtioHeader:]), length: len(buf) - offset, ended: !whole || s.last()}
	virtio{}.put(buf[offset-virtioHeader:])
	if !l.ended {
		l.each = s.size()
	}
	if !l.ended && !s.udp {
		l.next = s.sequence() + uint32(l.each) //nolint:gosec // a packet's
	}
}

// take takes a segment of the same stream in that follows.
func (l *large) take(s segment) bool {
	size := s.size()
	if l.ended || size > l.each || l.length+size > maxIP || !s.udp && s.sequence() != l.next || !l.like(s) {
		return false
	}
	l.parts = append(l.parts, s.packet[s.payload:])
	l.length, l.next, l.ended = l.length+size, l.next+uint32(size), size < l.each || s.last() //nolint:gosec // a packet's
	if s.last() {
		l.packet[l.transport+tcpFlags] |= tcpPSH
	}
	return true
}

// finish has the headers say what it has become. The kernel computes the checksum, where one is needed still: nobody compares those that the segments
// came with. As the kernel's WireGuard has it (wg_packet_consume_data_done), who sealed them has done that.
func (l *large) finish() {
	if len(l.parts) == 1 {
		return
	}
	p, l4, protocol := l.packet, l.packet[l.transport:], byte(unix.IPPROTO_TCP)
	h := virtio{
		flags: unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, kind: unix.VIRTIO_NET_HDR_GSO_TCPV6,
		headers: uint16(l.payload), size: uint16(l.each), start: uint16(l.transport), offset: tcpChecksum, //nolint:gosec // at most maxIP
	}
	if l.transport == header4 {
		h.kind = unix.VIRTIO_NET_HDR_GSO_TCPV4
	}
	setLength(p[:l.transport], l.length)
	length := l.length - l.transport
	if l.udp {
		h.kind, h.offset, protocol = unix.VIRTIO_NET_HDR_GSO_UDP_L4, udpChecksum, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(l4[udpLength:], uint16(length)) //nolint:gosec // at most maxIP
	}
	binary.BigEndian.PutUint16(l4[h.offset:], folded(pseudoHeader(p, protocol, length)))
	h.put(l.parts[0])
}

// coalesced are the packets of a batch as they are to be written.
type coalesced struct {
	larges []large
	// datagrams says that those of UDP are joined too.
	datagrams bool
}

// gather takes packets that are each behind offset bytes, of which virtioHeader are used.
func (c *coalesced) gather(bufs [][]byte, offset int) {
	c.larges = c.larges[:0]
	for _, buf := range bufs {
		s, whole := segmentOf(buf[offset:])
		whole = whole && (c.datagrams || !s.udp)
		if whole && c.join(s) {
			continue
		}
		if len(c.larges) < cap(c.larges) {
			c.larges = c.larges[:len(c.larges)+1] // with the room of one of before
		} else {
			c.larges = append(c.larges, large{})
		}
		c.larges[len(c.larges)-1].begin(buf, offset, s, whole)
	}
	for i := range c.larges {
		c.larges[i].finish()
	}
}

// join adds a segment to the last of its stream, which keeps these in their order.
func (c *coalesced) join(s segment) bool {
	for i := len(c.larges) - 1; i >= max(0, len(c.larges)-lookBack); i-- {
		if l := &c.larges[i]; l.udp == s.udp && bytes.Equal(l.stream(), s.stream()) {
			return l.take(s)
		}
	}
	return false
}

// forget lets go of the packets, and keeps the room.
func (c *coalesced) forget() {
	for i := range c.larges {
		clear(c.larges[i].parts)
		c.larges[i].segment = segment{}
	}
}
