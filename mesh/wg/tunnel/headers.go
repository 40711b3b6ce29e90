package tunnel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// What the headers of IP, TCP and UDP are, in bytes (RFC 791, 768, 8200, 9293).
const (
	header4     = 20 // without options
	header6     = 40
	udpHeader   = 8
	udpLength   = 4
	udpChecksum = 6
	tcpHeader   = 20 // without options
	tcpSequence = 4
	tcpAck      = 8
	tcpOffset   = 12
	tcpFlags    = 13
	tcpChecksum = 16
	maxIP       = 1<<16 - 1
)

// Flags of TCP, and those of IPv4 with its fragment offset that say that a packet is not whole.
const (
	tcpFIN     = 0x01
	tcpPSH     = 0x08
	tcpACK     = 0x10
	tcpCWR     = 0x80
	fragmented = 0x3fff
)

// setLength has the headers of IP say how long the packet is, in bytes, of which IPv4 keeps a checksum of its own.
func setLength(headers []byte, length int) {
	if headers[0]>>4 == 6 {
		binary.BigEndian.PutUint16(headers[4:], uint16(length-header6)) //nolint:gosec // at most maxIP
		return
	}
	binary.BigEndian.PutUint16(headers[2:], uint16(length)) //nolint:gosec // at most maxIP
	binary.BigEndian.PutUint16(headers[10:], 0)
	binary.BigEndian.PutUint16(headers[10:], checksum(0, headers))
}

// virtioHeader is the length of virtio, in bytes.
const virtioHeader = 10

// virtio is what stands before each packet that a TUN with IFF_VNET_HDR brings or takes (struct virtio_net_hdr of the kernel's
// include/uapi/linux/virtio_net.h): whether it is many in one, and what of its checksum is left to do.
type virtio struct {
	flags, kind byte
	// headers is the length of all headers, and size that of each segment's payload but the last's, in bytes.
	headers, size uint16
	// start is where what the checksum is of begins, and offset where the checksum is from there, in bytes.
	start, offset uint16
}

func getVirtio(b []byte) virtio {
	word := func(i int) uint16 { return binary.NativeEndian.Uint16(b[2+2*i:]) }
	return virtio{b[0], b[1], word(0), word(1), word(2), word(3)}
}

func (h virtio) put(b []byte) {
	b[0], b[1] = h.flags, h.kind
	for i, v := range []uint16{h.headers, h.size, h.start, h.offset} {
		binary.NativeEndian.PutUint16(b[2+2*i:], v)
	}
}

// complete says whether the packet's checksum is complete.
func (h virtio) complete() bool { return h.flags&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM == 0 }
