package tunnel

import (
	"encoding/binary"
	"math/bits"
)

// checksum is the Internet checksum (RFC 1071) of a part and what was summed before. It is never zero, which for UDP says that there is none; all ones
// mean the same.
func checksum(sum uint64, part []byte) uint16 {
	if c := ^folded(summed(sum, part)); c != 0 {
		return c
	}
	return 0xffff
}

// pseudoHeader is the sum of what TCP and UDP sum of IP (RFC 9293, section 3.1; RFC 8200, section 8.1), where they are so many bytes of a packet.
func pseudoHeader(p []byte, protocol byte, length int) uint64 {
	from, to := 8, header6
	if p[0]>>4 == 4 {
		from, to = 12, header4
	}
	return summed(uint64(protocol)+uint64(length), p[from:to]) //nolint:gosec // a length
}

// summed is a sum and that of a part's 16-bit words, before it is folded. Wider words come to the same, and those in the machine's own order too, once
// the sum's bytes are put in order (RFC 1071, section 2).
func summed(sum uint64, part []byte) uint64 {
	order := binary.NativeEndian
	var own, carry uint64
	for ; len(part) >= 64; part = part[64:] {
		own, carry = bits.Add64(own, order.Uint64(part), carry)
		own, carry = bits.Add64(own, order.Uint64(part[8:]), carry)
		own, carry = bits.Add64(own, order.Uint64(part[16:]), carry)
		own, carry = bits.Add64(own, order.Uint64(part[24:]), carry)
		own, carry = bits.Add64(own, order.Uint64(part[32:]), carry)
		own, carry = bits.Add64(own, order.Uint64(part[40:]), carry)
		own, carry = bits.Add64(own, order.Uint64(part[48:]), carry)
		own, carry = bits.Add64(own, order.Uint64(part[56:]), carry)
	}
	own = around(own, carry)
	for ; len(part) >= 8; part = part[8:] {
		own = around(own, order.Uint64(part))
	}
	for ; len(part) >= 2; part = part[2:] {
		own = around(own, uint64(order.Uint16(part)))
	}
	if len(part) == 1 {
		own = around(own, uint64(order.Uint16([]byte{part[0], 0})))
	}
	var word [2]byte
	order.PutUint16(word[:], folded(own))
	return around(sum, uint64(binary.BigEndian.Uint16(word[:])))
}

// around adds, and what overflows at the other end.
func around(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	return sum + carry
}

func folded(sum uint64) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
