package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// The sizes of headers, in bytes.
const (
	ipv4Header     = 20
	ipv6Header     = 40
	fragmentHeader = 8
	icmpHeader     = 8
	udpHeader      = 8
	tcpHeader      = 20
)

// ipHeader is the size of an address's IP header, in bytes.
func ipHeader(addr netip.Addr) int {
	if addr.Is4() {
		return ipv4Header
	}
	return ipv6Header
}

// echoByFragments sends an echo request in fragments that are made here, none larger than mtu, in the order that arrange makes of
// them, and waits for the whole echo.
func echoByFragments(ctx context.Context, from *lab.Host, to netip.Addr, size, mtu int, id uint16, arrange func([][]byte)) error {
	source := from.Address(to.Is4())
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i>>8) ^ byte(i) ^ byte(id)
	}
	request, err := echoMessage(source, to, id, data)
	if err != nil {
		return err
	}
	network := "ip4:icmp"
	if to.Is6() {
		network = "ip6:ipv6-icmp"
	}
	replies, err := from.ListenPacket(network, source.String())
	if err != nil {
		return err
	}
	defer replies.Close()
	stop := context.AfterFunc(ctx, func() { _ = replies.Close() })
	defer stop()
	fragments := split(source, to, uint32(id), request, mtu)
	arrange(fragments)
	if err := sendRaw(from, to, fragments); err != nil {
		return fmt.Errorf("sending %d fragments: %w", len(fragments), err)
	}
	if err := replies.SetReadDeadline(time.Now().Add(pace.Scale(2 * time.Second))); err != nil {
		return err
	}
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := replies.ReadFrom(buffer)
		if err != nil {
			return fmt.Errorf("no echo of %d bytes in %d fragments: %w", size, len(fragments), err)
		}
		if isReply(buffer[:n], to, id) {
			if !bytes.Equal(buffer[icmpHeader:n], data) {
				return fmt.Errorf("the echo has %d bytes that are not the %d sent", n-icmpHeader, size)
			}
			return nil
		}
	}
}

// echoMessage is an ICMP echo request with its checksum.
func echoMessage(source, to netip.Addr, id uint16, data []byte) ([]byte, error) {
	body := &icmp.Echo{ID: int(id), Seq: 1, Data: data}
	if to.Is4() {
		return (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: body}).Marshal(nil)
	}
	pseudo := icmp.IPv6PseudoHeader(source.AsSlice(), to.AsSlice())
	return (&icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: body}).Marshal(pseudo)
}

func isReply(message []byte, to netip.Addr, id uint16) bool {
	reply := byte(ipv4.ICMPTypeEchoReply)
	if to.Is6() {
		reply = byte(ipv6.ICMPTypeEchoReply)
	}
	return len(message) >= icmpHeader && message[0] == reply && binary.BigEndian.Uint16(message[4:]) == id
}

// split cuts an ICMP message into IP packets of at most mtu bytes, the last of which says that it is the last.
func split(source, to netip.Addr, id uint32, message []byte, mtu int) [][]byte {
	room := mtu - ipHeader(to)
	if to.Is6() {
		room -= fragmentHeader
	}
	room -= room % 8 // offsets are in units of 8 bytes
	var packets [][]byte
	for offset := 0; offset < len(message); offset += room {
		end := min(offset+room, len(message))
		header := fragment4
		if to.Is6() {
			header = fragment6
		}
		packet := header(source, to, id, offset, end-offset, end < len(message))
		packets = append(packets, append(packet, message[offset:end]...))
	}
	return packets
}

// fragment4 is the header of an IPv4 fragment with size bytes at offset. The kernel fills in the checksum.
func fragment4(source, to netip.Addr, id uint32, offset, size int, more bool) []byte {
	h := make([]byte, ipv4Header)
	h[0], h[8], h[9] = 4<<4|ipv4Header/4, 64, unix.IPPROTO_ICMP
	binary.BigEndian.PutUint16(h[2:], uint16(ipv4Header+size)) // below an MTU
	binary.BigEndian.PutUint16(h[4:], uint16(id))              // it was one
	flags := uint16(offset / 8)                                // below 64 KiB
	if more {
		flags |= 1 << 13
	}
	binary.BigEndian.PutUint16(h[6:], flags)
	copy(h[12:], source.AsSlice())
	copy(h[16:], to.AsSlice())
	return h
}

// fragment6 is the IPv6 header and the fragment header (RFC 8200, 4.5) of size bytes at offset.
func fragment6(source, to netip.Addr, id uint32, offset, size int, more bool) []byte {
	h := make([]byte, ipv6Header+fragmentHeader)
	h[0], h[6], h[7] = 6<<4, unix.IPPROTO_FRAGMENT, 64
	binary.BigEndian.PutUint16(h[4:], uint16(fragmentHeader+size)) // below an MTU
	copy(h[8:], source.AsSlice())
	copy(h[24:], to.AsSlice())
	f := h[ipv6Header:]
	f[0] = unix.IPPROTO_ICMPV6
	flags := uint16(offset) // below 64 KiB; a multiple of 8, so that the low bits are free
	if more {
		flags |= 1
	}
	binary.BigEndian.PutUint16(f[2:], flags)
	binary.BigEndian.PutUint32(f[4:], id)
	return h
}

// sendRaw sends IP packets as they are.
func sendRaw(from *lab.Host, to netip.Addr, packets [][]byte) error {
	return from.Do(func() (err error) {
		family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: as4(to)})
		if to.Is6() {
			family, address = unix.AF_INET6, &unix.SockaddrInet6{Addr: to.As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) // which is: with the header
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unix.Close(fd)) }()
		for _, p := range packets {
			if err := unix.Sendto(fd, p, 0, address); err != nil {
				return err
			}
		}
		return nil
	})
}

func as4(addr netip.Addr) (raw [net.IPv4len]byte) {
	copy(raw[:], addr.AsSlice())
	return raw
}
