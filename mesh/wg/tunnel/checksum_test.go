package tunnel

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// datagram6 is a UDP datagram over IPv6 without a checksum, of a payload that makes the sum of all be so much.
func datagram6(sum uint16) []byte {
	p := make([]byte, header6+udpHeader+4)
	p[0], p[6], p[7] = 6<<4, 17, 64
	binary.BigEndian.PutUint16(p[4:], udpHeader+4)
	from, to := netip.MustParseAddr("fd00:10:244:1::3").As16(), netip.MustParseAddr("fd00:10:244::2").As16()
	copy(p[8:], from[:])
	copy(p[24:], to[:])
	for i, v := range []uint16{20001, 45678, udpHeader + 4} {
		binary.BigEndian.PutUint16(p[header6+2*i:], v)
	}
	total := uint32(udpHeader+4) + 17
	for i := 8; i < len(p); i += 2 {
		total += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	total = total&0xffff + total>>16
	rest := (uint32(sum) + 0xffff - total%0xffff) % 0xffff
	binary.BigEndian.PutUint16(p[header6+udpHeader:], uint16(rest))
	return p
}

func TestFillChecksum(t *testing.T) {
	t.Parallel()
	zero := datagram6(0xffff)
	for name, c := range map[string]struct {
		packet []byte
		filled bool
	}{
		"computed to be zero":        {zero, true},
		"none by its sender":         {datagram6(0x1234), false},
		"has one":                    {append(slices.Clone(zero[:udpChecksum]), append([]byte{1, 2}, zero[udpChecksum+2:]...)...), false},
		"TCP":                        {changed(zero, 6, 6), false},
		"IPv4":                       {changed(zero, 0, 4<<4), false},
		"a length that is not its":   {changed(zero, 5, 11), false},
		"cut off within the headers": {zero[:header6+udpHeader-1], false},
		"nothing":                    {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := slices.Clone(c.packet)
			fillChecksum(got)
			want := slices.Clone(c.packet)
			if c.filled {
				want[udpChecksum], want[udpChecksum+1] = 0xff, 0xff
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
		})
	}
}

func changed(packet []byte, at int, to byte) []byte {
	again := slices.Clone(packet)
	again[at] = to
	return again
}
