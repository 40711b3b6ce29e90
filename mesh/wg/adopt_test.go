package wg

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAdoptionLosesNothing replaces the Device again and again, as an agent that starts anew does, and changes other peers, under a
// numbered stream; on the underlay is nothing but WireGuard.
func TestAdoptionLosesNothing(t *testing.T) { everyMode(t, testAdoptionLosesNothing) }

func testAdoptionLosesNothing(t *testing.T, mode Mode) {
	a, b := pair(t, mode, "192.168.5.1/24", "192.168.5.2/24")
	captured := watchUnderlay(t, a)
	s := newStream(t, a, b)
	toB, toA := b.peer("192.168.5.2:51820", "10.244.2.0/24"), a.peer("192.168.5.1:51820", "10.244.1.0/24")
	// At least so often, and until enough was sent to see a loss, however quick the machine is.
	for times := 0; times < 10 || s.sent.Load() < 200; times++ {
		for _, n := range []*node{a, b} {
			lane := n.lane(toB)
			if n == b {
				lane = n.lane(toA)
			}
			n.open(Options{})
			if err := n.set(lane, SetOptions{}); err != nil {
				t.Fatal(err)
			}
			n.mustSet(lane)
			lane.Peers = append(lane.Peers, testPeer(101), testPeer(102))
			n.mustSet(lane)
			n.device.Forget()
			n.mustSet(lane)
			lane.Peers = lane.Peers[:1]
			n.mustSet(lane)
		}
	}
	sent := s.end()
	eventually(t, "the last packet arrives", 10*time.Second, func() bool { return s.last.Load() == sent })
	if got := s.received.Load(); got != sent || sent < 100 {
		t.Errorf("%d of %d packets arrived, want all of at least 100", got, sent)
	}
	packets := captured() // fewer than were sent, where some leave as one (UDP GSO)
	if packets < 10 {
		t.Errorf("the capture saw %d packets: it proves nothing", packets)
	}
	t.Logf("%d of %d packets arrived, and %d packets were on the underlay", s.received.Load(), sent, packets)
}

// stream is numbered UDP packets from one node to another's tunnel address, one a millisecond.
type stream struct {
	stop           chan struct{}
	done           chan uint64
	received, last atomic.Uint64
	sent           atomic.Uint64
}

func newStream(t *testing.T, from, to *node) *stream {
	t.Helper()
	s := &stream{stop: make(chan struct{}), done: make(chan uint64)}
	address := &net.UDPAddr{IP: net.IPv4(10, 244, 2, 1), Port: 9000}
	var (
		receiver, sender *net.UDPConn
		err              error
	)
	to.in(func() { receiver, err = net.ListenUDP("udp4", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = receiver.Close() })
	from.in(func() { sender, err = net.DialUDP("udp4", nil, address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sender.Close() })
	go s.receive(receiver)
	go s.send(sender)
	return s
}

func (s *stream) receive(conn *net.UDPConn) {
	buffer := make([]byte, 16)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if n == 8 {
			s.received.Add(1)
			s.last.Store(binary.BigEndian.Uint64(buffer))
		}
	}
}

func (s *stream) send(conn *net.UDPConn) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for number := uint64(0); ; {
		select {
		case <-s.stop:
			s.done <- number
			return
		case <-tick.C:
		}
		number++
		s.sent.Store(number)
		// What cannot be sent is lost, as its number shows.
		_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, number))
	}
}

// end ends the sender and is how many packets there were.
func (s *stream) end() (sent uint64) {
	close(s.stop)
	return <-s.done
}

// watchUnderlay looks at every IPv4 packet of under0, in either direction. The function that it returns ends it, fails the test for each that is not
// WireGuard's, and is how many there were.
func watchUnderlay(t *testing.T, n *node) (end func() (packets uint64)) {
	t.Helper()
	file, err := packetSocket(n)
	if err != nil {
		t.Fatal(err)
	}
	type counts struct{ all, clear uint64 }
	done := make(chan counts)
	go func() {
		var c counts
		frame := make([]byte, 2048)
		for {
			size, err := file.Read(frame)
			if err != nil {
				done <- c
				return
			}
			if size == 0 || frame[0]>>4 != 4 {
				continue // neighbour discovery
			}
			c.all++
			if !isLane(frame[:size]) {
				c.clear++
			}
		}
	}()
	return func() uint64 {
		t.Helper()
		if err := file.Close(); err != nil {
			t.Error(err)
		}
		c := <-done
		if c.clear != 0 {
			t.Errorf("%d of %d packets on the underlay were not WireGuard's", c.clear, c.all)
		}
		return c.all
	}
}

// packetSocket reads the packets of both directions on under0, without their link-layer headers.
func packetSocket(n *node) (file *os.File, err error) {
	const all = uint16(unix.ETH_P_ALL) << 8 // in network order; outgoing packets come only to sockets of all protocols
	n.in(func() {
		var fd, index int
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		file = os.NewFile(uintptr(fd), "under0")
		var link *net.Interface
		if link, err = net.InterfaceByName("under0"); err == nil {
			index = link.Index
		}
		err = errors.Join(err, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
	})
	return file, err
}

// isLane is whether an IPv4 packet is UDP from and to the lane's port.
func isLane(packet []byte) bool {
	if len(packet) < 28 || packet[9] != unix.IPPROTO_UDP {
		return false
	}
	ports := packet[int(packet[0]&15)*4:]
	return len(ports) >= 8 && binary.BigEndian.Uint16(ports) == 51820 && binary.BigEndian.Uint16(ports[2:]) == 51820
}
