package tunnel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"pgregory.net/rapid"
)

// streamPacket is one of a stream, of TCP or UDP, with the checksums that it should have.
type streamPacket struct {
	from, to      netip.AddrPort
	udp           bool
	sequence, ack uint32
	flags, hops   byte
	number        uint16 // IPv4's identification
	options       []byte
	payload       []byte
}

func (s streamPacket) bytes() []byte {
	l4, protocol, place := make([]byte, tcpHeader, 1500), byte(unix.IPPROTO_TCP), tcpChecksum
	if s.udp {
		l4, protocol, place = l4[:udpHeader], unix.IPPROTO_UDP, 6
		binary.BigEndian.PutUint16(l4[4:], uint16(udpHeader+len(s.payload)))
	} else {
		binary.BigEndian.PutUint32(l4[tcpSequence:], s.sequence)
		binary.BigEndian.PutUint32(l4[tcpAck:], s.ack)
		l4[tcpOffset], l4[tcpFlags] = byte(tcpHeader+len(s.options))/4<<4, s.flags
		binary.BigEndian.PutUint16(l4[14:], 65535)
		l4 = append(l4, s.options...)
	}
	binary.BigEndian.PutUint16(l4, s.from.Port())
	binary.BigEndian.PutUint16(l4[2:], s.to.Port())
	l4 = append(l4, s.payload...)
	ip := make([]byte, header6)
	from, to := s.from.Addr().AsSlice(), s.to.Addr().AsSlice()
	if s.from.Addr().Is4() {
		ip = ip[:header4]
		ip[0], ip[6], ip[8], ip[9] = 4<<4|header4/4, 0x40, s.hops, protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(header4+len(l4)))
		binary.BigEndian.PutUint16(ip[4:], s.number)
		copy(ip[12:], append(from, to...))
		binary.BigEndian.PutUint16(ip[10:], wordSum(ip))
	} else {
		ip[0], ip[6], ip[7] = 6<<4, protocol, s.hops
		binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
		copy(ip[8:], append(from, to...))
	}
	binary.BigEndian.PutUint16(l4[place:], transportSum(from, to, protocol, l4))
	return slices.Concat(ip, l4)
}

// transportSum is the checksum of a transport header, with the pseudo header, and what follows; of one that has its checksum it is all ones.
func transportSum(from, to []byte, protocol byte, l4 []byte) uint16 {
	return wordSum(from, to, []byte{0, protocol, byte(len(l4) >> 8), byte(len(l4))}, l4)
}

// wordSum is the checksum of parts, all but the last of an even length, word by word (RFC 1071).
func wordSum(parts ...[]byte) uint16 {
	sum := uint32(0)
	for i, b := range bytes.Join(parts, nil) {
		sum += uint32(b) << (8 * (1 - i%2))
		sum = sum&0xffff + sum>>16
	}
	if sum == 0xffff {
		return 0xffff // not zero, which is the same
	}
	return ^uint16(sum)
}

// behind puts packets where wireguard-go has them.
func behind(offset int, packets ...[]byte) [][]byte {
	bufs := make([][]byte, len(packets))
	for i, p := range packets {
		bufs[i] = append(bytes.Repeat([]byte{0xee}, offset), p...)
	}
	return bufs
}

// drawStreams are packets of some streams that take turns. Each stream's are in order, with gaps, and with what keeps two from being joined.
func drawStreams(t *rapid.T) (packets [][]byte) {
	ends := []string{"10.0.0.1", "10.0.0.2"}
	if rapid.Bool().Draw(t, "IPv6") {
		ends = []string{"fd00::1", "fd00::2"}
	}
	streams := make([]streamPacket, rapid.IntRange(1, 4).Draw(t, "streams"))
	for i := range streams {
		streams[i] = streamPacket{
			from: netip.AddrPortFrom(netip.MustParseAddr(ends[0]), uint16(1000+i/2)), to: netip.AddrPortFrom(netip.MustParseAddr(ends[1]), 80),
			sequence: rapid.SampledFrom([]uint32{0, 1<<32 - 1000}).Draw(t, "sequence"), flags: tcpACK, hops: 64, udp: i%2 == 1,
		}
	}
	for range rapid.IntRange(1, 60).Draw(t, "packets") {
		s := &streams[rapid.IntRange(0, len(streams)-1).Draw(t, "stream")]
		s.payload = bytes.Repeat([]byte{byte(len(packets))}, rapid.SampledFrom([]int{0, 1, 99, 100, 100, 100, 100, 1400}).Draw(t, "payload"))
		one := *s
		switch rapid.IntRange(0, 11).Draw(t, "special") {
		case 0:
			one.flags |= tcpPSH
		case 1:
			one.flags |= tcpFIN
		case 2:
			s.ack++
			one.ack++
		case 3:
			s.hops--
			one.hops--
		case 4:
			s.options = []byte{1, 1, 1, byte(len(packets))}
			one.options = s.options
		case 5:
			s.sequence += 7 // one was lost
			one.sequence = s.sequence
		}
		packets = append(packets, one.bytes())
		s.sequence += uint32(len(s.payload))
		s.number++
	}
	return packets
}

// TestCoalesce: whatever is joined, the packets that come of it where it is parted again are those that there were, and each stream's are in their order.
func TestCoalesce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const offset = 16
		c := coalesced{datagrams: rapid.Bool().Draw(t, "datagrams are joined")}
		for range 2 { // The second uses the first's room.
			packets := drawStreams(t)
			want := map[string][][]byte{}
			for _, p := range packets {
				want[sourceOf(p)] = append(want[sourceOf(p)], p)
			}
			c.gather(behind(offset, packets...), offset)
			got := map[string][][]byte{}
			for _, l := range c.larges {
				for _, p := range apart(t, bytes.Join(l.parts, nil)) {
					got[sourceOf(p)] = append(got[sourceOf(p)], p)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-given +written):\n%s", diff)
			}
			c.forget()
		}
	})
}

// apart is what a read brings, as packets.
func apart(t interface{ Fatal(...any) }, in []byte) [][]byte {
	const offset = 16
	out, sizes := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize)
	for i := range out {
		out[i] = make([]byte, offset+1<<16)
	}
	n, err := spread(in, out, sizes, offset)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		out[i] = out[i][offset : offset+sizes[i]]
	}
	return out[:n]
}

// sourceOf is the protocol and the source port, by which the test's streams differ.
func sourceOf(p []byte) string {
	if p[0]>>4 == 6 {
		return fmt.Sprint(p[6], binary.BigEndian.Uint16(p[header6:]))
	}
	return fmt.Sprint(p[9], binary.BigEndian.Uint16(p[header4:]))
}

// TestCoalesceJoins: a burst of each of several streams that take turns is as many packets as there are streams.
func TestCoalesceJoins(t *testing.T) {
	t.Parallel()
	const offset, streams, each, size = 16, 8, 12, 1360
	var packets [][]byte
	for i := range each {
		for s := range streams {
			packets = append(packets, streamPacket{
				from: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+s)), to: netip.MustParseAddrPort("10.0.0.2:80"),
				sequence: uint32(i * size), flags: tcpACK, payload: make([]byte, size), udp: s%2 == 0,
			}.bytes())
		}
	}
	c := coalesced{datagrams: true}
	c.gather(behind(offset, packets...), offset)
	if len(c.larges) != streams {
		t.Errorf("%d packets, want %d", len(c.larges), streams)
	}
	for _, l := range c.larges {
		if len(l.parts) != each || l.length != l.payload+each*size {
			t.Errorf("%d segments, %d bytes", len(l.parts), l.length)
		}
	}
	c.datagrams = false // as before Linux 6.2
	c.gather(behind(offset, packets...), offset)
	for _, l := range c.larges {
		if l.udp && len(l.parts) != 1 {
			t.Errorf("%d datagrams in one that the kernel does not take", len(l.parts))
		}
	}
}

// TestStream is a conversation of a socket of the kernel with a peer behind the TUN: what is written and read as one arrives as it was sent.
func TestStream(t *testing.T) {
	b, _ := openBatched(t)
	listener, err := net.Listen("tcp4", "10.244.1.1:5000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	p := streamPacket{from: netip.MustParseAddrPort("10.244.1.2:4000"), to: netip.MustParseAddrPort("10.244.1.1:5000"), hops: 64, flags: 2} // SYN
	write := func(packets ...[]byte) {
		t.Helper()
		if _, err := b.Write(behind(16, packets...), 16); err != nil {
			t.Fatal(err)
		}
	}
	write(p.bytes())
	r := segments{b: b}
	hello := r.await(t)
	p.sequence, p.ack, p.flags = 1, binary.BigEndian.Uint32(hello[header4+tcpSequence:])+1, tcpACK
	write(p.bytes())
	served, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = served.Close() }()
	if err := served.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	var want []byte
	for i := range 40 {
		p.payload = bytes.Repeat([]byte{byte(i)}, 1000-i/39*500) // the last is shorter
		packets = append(packets, p.bytes())
		want = append(want, p.payload...)
		p.sequence += uint32(len(p.payload))
	}
	lengths := captureLengths(t)
	write(packets...)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(served, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes of %d: %v", n, len(want), err)
	}
	if seen := lengths(); !slices.Contains(seen, header4+tcpHeader+len(want)) {
		t.Errorf("packets of these lengths were written: %v", seen)
	}
	want = want[:5000] // Less than the kernel sends before it hears of any.
	if _, err := served.Write(want); err != nil {
		t.Fatal(err)
	}
	var read []byte
	for len(read) < len(want) {
		packet := r.await(t)
		if sum := transportSum(packet[12:16], packet[16:20], unix.IPPROTO_TCP, packet[header4:]); sum != 0xffff || wordSum(packet[:header4]) != 0xffff {
			t.Fatalf("the checksums of %x are wrong", packet)
		}
		at := binary.BigEndian.Uint32(packet[header4+tcpSequence:]) - p.ack
		if payload := packet[header4+int(packet[header4+tcpOffset]>>4)*4:]; int(at) == len(read) {
			read = append(read, payload...)
		}
	}
	if !bytes.Equal(read, want) {
		t.Error("what was read is not what was sent")
	}
}

// TestDatagrams: a socket of the kernel takes datagrams that are written as one, or one by one where the kernel takes no other (before 6.2).
func TestDatagrams(t *testing.T) {
	b, _ := openBatched(t)
	socket, err := net.ListenPacket("udp4", "10.244.1.1:5001")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	var packets [][]byte
	for i := range 20 {
		packets = append(packets, streamPacket{
			from: netip.MustParseAddrPort("10.244.1.2:4000"), to: netip.MustParseAddrPort("10.244.1.1:5001"), hops: 64, udp: true, payload: numbered(i, 100),
		}.bytes())
	}
	lengths := captureLengths(t)
	if _, err := b.Write(behind(16, packets...), 16); err != nil {
		t.Fatal(err)
	}
	if err := socket.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range packets {
		got := make([]byte, 1500)
		if n, _, err := socket.ReadFrom(got); err != nil || !bytes.Equal(got[:n], numbered(i, 100)) {
			t.Fatalf("datagram %d: %x, %v", i, got[:n], err)
		}
	}
	joined := header4 + udpHeader + len(packets)*100
	if seen := lengths(); slices.Contains(seen, joined) != b.out.datagrams {
		t.Errorf("packets of these lengths were written: %v", seen)
	}
}

// segments are those of TCP over IPv4 that are read.
type segments struct {
	b    *batched
	read [][]byte
}

// await is the next one.
func (r *segments) await(t *testing.T) []byte {
	t.Helper()
	const offset = 16
	bufs, sizes := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize)
	for i := range bufs {
		bufs[i] = make([]byte, offset+1<<16)
	}
	for len(r.read) == 0 {
		if err := r.b.File().SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := r.b.Read(bufs, sizes, offset)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if p := bufs[i][offset : offset+sizes[i]]; len(p) >= header4+tcpHeader && p[0]>>4 == 4 && p[9] == unix.IPPROTO_TCP {
				r.read = append(r.read, slices.Clone(p))
			}
		}
	}
	next := r.read[0]
	r.read = r.read[1:]
	return next
}

// captureLengths listens to what comes in, and gives how long each packet was.
func captureLengths(t *testing.T) func() []int {
	t.Helper()
	everything := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, everything)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func() (lengths []int) {
		for {
			n, _, err := unix.Recvfrom(fd, make([]byte, 1<<16), 0)
			if err != nil {
				return lengths
			}
			lengths = append(lengths, n)
		}
	}
}
