package tunnel

import (
	"bytes"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/warren-mesh/warren/mesh/wg/internal/isolated"
)

// TestBatches: what waits is read at once, in order, and a packet of many segments that waits behind others is read whole.
func TestBatches(t *testing.T) {
	b, socket := openBatched(t)
	if got := ip(t, "-details", "link", "show", "lane0"); !strings.Contains(got, "gso_max_segs 64 ") {
		t.Errorf("segments are not limited: %s", got)
	}
	const singles, size = maxWaiting - 1, 100
	for i := range singles {
		if _, err := socket.Write(numbered(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	sendSegments(t, socket, singles, size)

	r := reader{t: t, b: b}
	for len(r.numbers) < singles+maxSegments && r.read() {
	}
	if len(r.numbers) != singles+maxSegments {
		t.Fatalf("%d packets, want %d", len(r.numbers), singles+maxSegments)
	}
	for i, got := range r.numbers {
		if got != i {
			t.Fatalf("packet %d is number %d: %v", i, got, r.numbers)
		}
	}
	// IPv6 may have a word of its own to say on a new link, each read of it one more at most.
	if r.reads > 3 {
		t.Errorf("%d reads for %d packets that waited", r.reads, len(r.numbers))
	}
}

// TestBatchOfOne: a packet that comes alone does not wait for a second.
func TestBatchOfOne(t *testing.T) {
	b, socket := openBatched(t)
	if _, err := socket.Write(numbered(0, 100)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	r := reader{t: t, b: b}
	go func() {
		defer close(done)
		for len(r.numbers) == 0 && r.read() {
		}
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it waits")
	}
}

// openBatched makes a TUN that is up, and a socket whose packets go there. They end with the test.
func openBatched(t *testing.T) (*batched, *net.UDPConn) {
	t.Helper()
	isolated.Need(t)
	link, _, err := openTUN("lane0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	b, err := newBatched(link, "lane0")
	if err != nil {
		t.Fatal(err)
	}
	ip(t, "link", "set", "lane0", "up")
	ip(t, "address", "add", "10.244.1.1/24", "dev", "lane0")
	socket, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(10, 244, 1, 2), Port: 5000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return b, socket
}

func numbered(number, size int) []byte {
	payload := make([]byte, size)
	binary.BigEndian.PutUint32(payload, uint32(number))
	return payload
}

// sendSegments sends packets numbered from first on as one (UDP_SEGMENT).
func sendSegments(t *testing.T, socket *net.UDPConn, first, size int) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	var all bytes.Buffer
	for i := range maxSegments {
		all.Write(numbered(first+i, size))
	}
	if _, err := socket.Write(all.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// reader collects the numbers of the UDP packets over IPv4 that it reads.
type reader struct {
	t       *testing.T
	b       *batched
	reads   int
	numbers []int
}

// read says whether there was something to read within some seconds.
func (r *reader) read() bool {
	const offset, header = 16, 20 + 8
	bufs, sizes := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize)
	for i := range bufs {
		bufs[i] = make([]byte, offset+1<<16)
	}
	if err := r.b.File().SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		r.t.Error(err)
	}
	n, err := r.b.Read(bufs, sizes, offset)
	if err != nil {
		r.t.Errorf("%d packets, then: %v", n, err)
		return false
	}
	r.reads++
	for i := range n {
		packet := bufs[i][offset : offset+sizes[i]]
		if len(packet) >= header+4 && packet[0]>>4 == 4 {
			r.numbers = append(r.numbers, int(binary.BigEndian.Uint32(packet[header:])))
		}
	}
	return true
}
