package tunnel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Where a UDP header begins behind an IPv6 header, and its checksum in that, in bytes.
const (
	header6     = 40
	udpHeader   = 8
	udpChecksum = header6 + 6
)

// fillChecksum sets the checksum of a UDP datagram over IPv6 that was computed to be zero to all ones, which means the same (RFC 8200, section
// 8.1): zero says that there is none, and a receiver drops that. wireguard-go computes it where the kernel leaves it to the device, and
// leaves out this step, so that one datagram in 65,536 was lost. One that its sender gave no checksum stays as it is.
func fillChecksum(packet []byte) {
	if len(packet) < header6+udpHeader || packet[0]>>4 != 6 || packet[6] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(packet[udpChecksum:]) != 0 {
		return
	}
	datagram := packet[header6:]
	if int(binary.BigEndian.Uint16(packet[4:])) != len(datagram) {
		return
	}
	sum := uint64(len(datagram)) + unix.IPPROTO_UDP
	for _, part := range [][]byte{packet[8:header6], datagram} { // the addresses, and what is between
		for ; len(part) > 1; part = part[2:] {
			sum += uint64(binary.BigEndian.Uint16(part))
		}
		if len(part) == 1 {
			sum += uint64(part[0]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum == 0xffff {
		binary.BigEndian.PutUint16(packet[udpChecksum:], 0xffff)
	}
}
