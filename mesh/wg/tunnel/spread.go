package tunnel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// spread makes of what one read brought, a packet behind its virtio_net_hdr, the packets that it stands for, with their checksums: into out, each behind
// offset bytes, and as long as sizes say. What the kernel never hands over is none.
func spread(in []byte, out [][]byte, sizes []int, offset int) (int, error) {
	if len(in) < virtioHeader+header4 {
		return 0, nil
	}
	h, p := getVirtio(in), in[virtioHeader:]
	start, sum := int(h.start), int(h.start)+int(h.offset)
	if h.kind == unix.VIRTIO_NET_HDR_GSO_NONE {
		if !h.complete() {
			if sum+2 > len(p) {
				return 0, nil
			}
			binary.BigEndian.PutUint16(p[sum:], checksum(0, p[start:])) // The sum of the pseudo header is in its place.
		}
		sizes[0] = copy(out[0][offset:], p)
		return 1, nil
	}
	headers, ok := headersOf(p, h)
	if !ok || headers >= len(p) || h.size == 0 || sum+2 > headers {
		return 0, nil
	}
	size := int(h.size)
	count := (len(p) - headers + size - 1) / size
	if count > len(out) {
		return 0, tun.ErrTooManySegments
	}
	for i := range count {
		payload := p[headers+i*size : min(headers+(i+1)*size, len(p))]
		q := out[i][offset : offset+headers+len(payload)]
		copy(q, p[:headers])
		copy(q[headers:], payload)
		protocol := number(q, h, i, i == count-1)
		binary.BigEndian.PutUint16(q[sum:], 0)
		binary.BigEndian.PutUint16(q[sum:], checksum(pseudoHeader(q, protocol, len(q)-start), q[start:]))
		sizes[i] = len(q)
	}
	return count, nil
}

// headersOf is where the payload begins. The kernel's own word of that is wrong for packets that it forwards.
func headersOf(p []byte, h virtio) (length int, ok bool) {
	start, ip := int(h.start), header4
	if p[0]>>4 == 6 {
		ip = header6
	}
	switch {
	case start < ip || p[0]>>4 != 4 && p[0]>>4 != 6:
		return 0, false
	case h.kind == unix.VIRTIO_NET_HDR_GSO_UDP_L4:
		return start + udpHeader, true
	case h.kind == unix.VIRTIO_NET_HDR_GSO_TCPV4 && ip == header4, h.kind == unix.VIRTIO_NET_HDR_GSO_TCPV6 && ip == header6:
		if len(p) < start+tcpHeader {
			return 0, false
		}
		tcp := int(p[start+tcpOffset]>>4) * 4
		return start + tcp, tcp >= tcpHeader
	}
	return 0, false
}

// number makes of the whole's headers those of one segment, and gives its protocol.
func number(q []byte, h virtio, index int, last bool) byte {
	start := int(h.start)
	if q[0]>>4 == 4 {
		binary.BigEndian.PutUint16(q[4:], binary.BigEndian.Uint16(q[4:])+uint16(index)) //nolint:gosec // less than a batch
	}
	setLength(q[:start], len(q))
	l4 := q[start:]
	if h.kind == unix.VIRTIO_NET_HDR_GSO_UDP_L4 {
		binary.BigEndian.PutUint16(l4[udpLength:], uint16(len(l4))) //nolint:gosec // at most maxIP
		return unix.IPPROTO_UDP
	}
	first := binary.BigEndian.Uint32(l4[tcpSequence:])
	binary.BigEndian.PutUint32(l4[tcpSequence:], first+uint32(index)*uint32(h.size)) //nolint:gosec // less than a batch
	if index > 0 {
		l4[tcpFlags] &^= tcpCWR
	}
	if !last {
		l4[tcpFlags] &^= tcpFIN | tcpPSH
	}
	return unix.IPPROTO_TCP
}
