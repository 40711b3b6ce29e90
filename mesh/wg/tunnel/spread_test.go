package tunnel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
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

// TestZeroChecksum: where the kernel leaves a datagram's checksum to the device, and it comes to zero, it is all ones (RFC 8200, section 8.1): a receiver
// drops those that have none. One that its sender gave no checksum stays as it is.
func TestZeroChecksum(t *testing.T) {
	t.Parallel()
	const place = header6 + udpChecksum
	datagram := datagram6(0xffff)
	for _, left := range []bool{true, false} {
		in, h := append(make([]byte, virtioHeader), datagram...), virtio{}
		want := slices.Clone(datagram)
		if left {
			h = virtio{flags: unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, start: header6, offset: udpChecksum}
			pseudo := folded(pseudoHeader(datagram, unix.IPPROTO_UDP, len(datagram)-header6))
			binary.BigEndian.PutUint16(in[virtioHeader+place:], pseudo)
			want[place], want[place+1] = 0xff, 0xff
		}
		h.put(in)
		if got := apart(t, in); len(got) != 1 || !slices.Equal(got[0], want) {
			t.Errorf("left to the device: %v: got %x, want %x", left, got, want)
		}
	}
}

// FuzzSpread: nothing that the kernel hands over, if it ever did, stops the device, or makes packets that are none.
func FuzzSpread(f *testing.F) {
	f.Add(append(make([]byte, virtioHeader), datagram6(1)...))
	packet := streamPacket{from: netip.MustParseAddrPort("10.0.0.1:1"), to: netip.MustParseAddrPort("10.0.0.2:2"), flags: tcpACK, payload: make([]byte, 99)}.bytes()
	h := virtio{unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, unix.VIRTIO_NET_HDR_GSO_TCPV4, header4 + tcpHeader, 10, header4, tcpChecksum}
	whole := append(make([]byte, virtioHeader), packet...)
	h.put(whole)
	f.Add(whole)
	const offset = 16
	out, sizes := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize)
	for i := range out {
		out[i] = make([]byte, offset+1<<16)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > virtioHeader+maxIP {
			return
		}
		n, err := spread(in, out, sizes, offset)
		if err != nil && !errors.Is(err, tun.ErrTooManySegments) {
			t.Fatal(err)
		}
		for i := range n {
			if sizes[i] < header4 || sizes[i] > len(in)-virtioHeader {
				t.Errorf("%d bytes of %d", sizes[i], len(in))
			}
		}
	})
}
