package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

// probePort is where probes are sent to. Something listens there wherever one may arrive, or its answer would be an error.
const probePort = 9999

// probeMark begins a probe's payload; its number follows.
var probeMark = []byte("warren e2e hostile probe ")

// arrivals are the numbers of the probes that were seen at one place.
type arrivals struct {
	mu   sync.Mutex
	seen map[uint32]int
}

// note takes down the probe in a packet, if there is one.
func (a *arrivals) note(packet []byte) {
	_, rest, found := bytes.Cut(packet, probeMark)
	if !found || len(rest) < 4 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = map[uint32]int{}
	}
	a.seen[binary.BigEndian.Uint32(rest)]++
}

func (a *arrivals) count(number uint32) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[number]
}

// tap sees what enters a namespace by a link, beneath its firewall; or what leaves by it, where leaving is set. in runs a function in
// the namespace.
func tap(t *testing.T, in func(func() error) error, link string, leaving bool) *arrivals {
	t.Helper()
	var fd int
	err := in(func() (err error) {
		index, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bits.ReverseBytes16(unix.ETH_P_ALL), Ifindex: index.Index}),
		)
	})
	if err != nil {
		t.Fatalf("tapping %s: %v", link, err)
	}
	var a arrivals
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = unix.Close(fd) }()
		packet := make([]byte, 1<<17)
		for {
			select {
			case <-end:
				return
			default:
			}
			n, from, err := unix.Recvfrom(fd, packet, 0)
			if at, ok := from.(*unix.SockaddrLinklayer); err == nil && ok && (at.Pkttype == unix.PACKET_OUTGOING) == leaving {
				a.note(packet[:n])
			}
		}
	}()
	t.Cleanup(func() { close(end); <-done })
	return &a
}

// listen sees what is delivered to a host itself, at whichever of its addresses.
func listen(t *testing.T, h *lab.Host) *arrivals {
	t.Helper()
	var a arrivals
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := h.ListenPacket(network, fmt.Sprintf(":%d", probePort))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		go func() {
			packet := make([]byte, 2048)
			for {
				n, _, err := conn.ReadFrom(packet)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				a.note(packet[:n])
			}
		}()
	}
	return &a
}

// probe is a UDP datagram as it would be on the wire, of any addresses.
func probe(t *testing.T, from, to netip.Addr, number uint32) []byte {
	t.Helper()
	payload := binary.BigEndian.AppendUint32(bytes.Clone(probeMark), number)
	return datagram(t, netip.AddrPortFrom(from, probePort), netip.AddrPortFrom(to, probePort), payload)
}

// datagram is UDP as it would be on the wire, from IP's header on.
func datagram(t *testing.T, from, to netip.AddrPort, payload gopacket.Payload) []byte {
	t.Helper()
	header := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	var network gopacket.NetworkLayer = &layers.IPv6{
		Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice(),
	}
	if to.Addr().Is4() {
		network = &layers.IPv4{
			Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice(),
		}
	}
	if err := header.SetNetworkLayerForChecksum(network); err != nil {
		t.Fatal(err)
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, network.(gopacket.SerializableLayer), header, payload); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// inject hands a packet to a host's lane as it is: no route and no firewall of that host has a say.
func inject(t *testing.T, h *lab.Host, packet []byte) {
	t.Helper()
	err := h.Do(func() error {
		link, err := netlink.LinkByName("warren0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		protocol := uint16(unix.ETH_P_IPV6)
		if packet[0]>>4 == 4 {
			protocol = unix.ETH_P_IP
		}
		to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Protocol: bits.ReverseBytes16(protocol)}
		return errors.Join(unix.Sendto(fd, packet, 0, to), unix.Close(fd))
	})
	if err != nil {
		t.Fatalf("injecting a packet: %v", err)
	}
}
