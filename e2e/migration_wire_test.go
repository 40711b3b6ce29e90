package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// migratingFlow is steady traffic.
type migratingFlow struct {
	what   string
	stream *lab.Stream
}

// flowInterval is how often each flow sends.
const flowInterval = 40 * time.Millisecond

// begin starts flows between every pair of pods, and from every node to the pods of the others, of both families.
func (m *migration) begin(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, to := range m.Pods() {
		if to.Name == "short" {
			continue
		}
		for _, from := range m.Pods() {
			if from != to && from.Name != "short" {
				m.flows = append(m.flows, startFlows(ctx, t, &from.Host, to, from.Node.Name+"/"+from.Name)...)
			}
		}
	}
	m.beginHosts(ctx, t)
	t.Logf("%d flows between pods, %d from nodes", len(m.flows), len(m.hosts))
}

// beginHosts starts flows from every node to all pods. They end with the address that they have: of Flannel's link before, of the mesh after.
func (m *migration) beginHosts(ctx context.Context, t *testing.T) {
	t.Helper()
	m.hosts = nil
	for _, to := range m.Pods() {
		for _, n := range m.Nodes() {
			if to.Name != "short" {
				m.hosts = append(m.hosts, startFlows(ctx, t, &n.Host, to, n.Name)...)
			}
		}
	}
}

func startFlows(ctx context.Context, t *testing.T, from *lab.Host, to *lab.Pod, named string) (flows []*migratingFlow) {
	t.Helper()
	for _, v4 := range []bool{true, false} {
		stream, err := from.Stream(ctx, to.Address(v4), flowInterval, 64)
		if err != nil {
			t.Fatal(err)
		}
		flows = append(flows, &migratingFlow{fmt.Sprintf("%s to %s/%s (%s)", named, to.Node.Name, to.Name, to.Address(v4)), stream})
	}
	return flows
}

// end stops flows: of none is a packet lost.
func end(t *testing.T, flows []*migratingFlow) {
	t.Helper()
	sent, lost := 0, 0
	var longest time.Duration
	for _, f := range flows {
		result := f.stream.Stop()
		sent, lost = sent+result.Sent, lost+result.Lost
		longest = max(longest, result.LongestGap)
		if result.Lost > 0 || result.Sent == 0 {
			t.Errorf("%s: %s", f.what, result)
		}
	}
	t.Logf("%d packets sent, %d lost, longest gap %s", sent, lost, longest)
}

// stutter has the processes that carry what goes by the network before stop for a while again and again, until what it gives is called: a node is
// told by the API that another one has moved while some of that one's packets are still under way.
func (m *migration) stutter(t *testing.T) (end func()) {
	t.Helper()
	const pause, between = 600 * time.Millisecond, 200 * time.Millisecond
	ended := make(chan struct{})
	var stuttering sync.WaitGroup
	stuttering.Go(func() {
		for {
			for _, signal := range []struct {
				signal os.Signal
				wait   time.Duration
			}{{unix.SIGSTOP, pause}, {unix.SIGCONT, between}} {
				for _, p := range m.carriers {
					if err := p.Signal(signal.signal); err != nil {
						t.Errorf("%s to process %d: %v", signal.signal, p.Pid, err)
					}
				}
				time.Sleep(signal.wait)
			}
			select {
			case <-ended:
				return
			default:
			}
		}
	})
	end = sync.OnceFunc(func() {
		close(ended)
		stuttering.Wait()
	})
	t.Cleanup(end)
	return end
}

// judge looks at what the underlay saw: in clear only what was between two of which one had not moved yet.
func (m *migration) judge(ctx context.Context, t *testing.T) {
	t.Helper()
	leaks, err := m.capture.Leaks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before, after := map[[2]string]int{}, 0
	for _, leak := range leaks {
		pair := [2]string{leak.From, m.destination(leak.Data)}
		since, ok := m.encrypted[pair]
		switch {
		case ok && !leak.Time.After(since):
			before[pair]++
		case after < 10:
			t.Errorf("in clear, %s after %s had moved for %s: %s", leak.Time.Sub(since), pair[0], pair[1], leak)
			fallthrough
		default:
			after++
		}
	}
	for _, from := range m.Nodes() {
		for _, to := range m.Nodes() {
			if pair := [2]string{from.Name, to.Name}; from != to && (before[pair] > 0) != m.from.clear {
				t.Errorf("%s sent to %s %d packets in clear; some: want %v, or this proves nothing", from.Name, to.Name, before[pair], m.from.clear)
			}
		}
	}
	t.Logf("on the underlay: %d WireGuard packets; in clear before a pair had moved %v, after it %d", m.capture.WireGuardPackets(), before, after)
}

// destination is the node that a frame is for, by its outer header.
func (m *migration) destination(frame []byte) string {
	var to []byte
	switch {
	case len(frame) < 54:
	case binary.BigEndian.Uint16(frame[12:]) == 0x0800:
		to = frame[30:34]
	case binary.BigEndian.Uint16(frame[12:]) == 0x86dd:
		to = frame[38:54]
	}
	addr, _ := netip.AddrFromSlice(to)
	for _, n := range m.Nodes() {
		if n.Address(addr.Is4()) == addr {
			return n.Name
		}
	}
	return ""
}

// conversations are TCP connections between pods that were there first, one of each family. They never pause for long.
type conversations struct {
	mu   sync.Mutex // held while something is under way
	all  []net.Conn
	errs []error
}

// dial begins them, and has them say something all the time.
func (m *migration) dial(ctx context.Context, t *testing.T) *conversations {
	t.Helper()
	c := &conversations{}
	for _, v4 := range []bool{true, false} {
		to := netip.AddrPortFrom(m.pod("n3").Address(v4), lab.EchoPort)
		conn, err := m.pod("n1").Dial(ctx, "tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		c.all = append(c.all, conn)
	}
	ended := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(flowInterval):
			}
			c.mu.Lock()
			c.errs = append(c.errs, c.say(100))
			c.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		close(ended)
		talking.Wait()
		if err := errors.Join(c.errs...); err != nil {
			t.Errorf("a connection that was there before: %v", err)
		}
	})
	return c
}

// say sends so many bytes by each connection, and wants them back.
func (c *conversations) say(size int) error {
	sent := make([]byte, size)
	if _, err := rand.Read(sent); err != nil {
		return err
	}
	for _, conn := range c.all {
		if err := conn.SetDeadline(time.Now().Add(pace.Scale(30 * time.Second))); err != nil {
			return err
		}
		var written error
		var writing sync.WaitGroup
		writing.Go(func() { _, written = conn.Write(sent) })
		got := make([]byte, size)
		n, err := io.ReadFull(conn, got)
		if err != nil {
			_ = conn.SetDeadline(time.Unix(1, 0)) // ends the writer
		}
		writing.Wait()
		if err = errors.Join(err, written); err != nil {
			return fmt.Errorf("%s: %d of %d bytes came back: %w", conn.RemoteAddr(), n, size, err)
		}
		if !bytes.Equal(sent, got) {
			return fmt.Errorf("%s: other bytes came back", conn.RemoteAddr())
		}
	}
	return nil
}

// exchange sends much by the connections that were made when packets could be larger than they can be now.
func (c *conversations) exchange(t *testing.T, size int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	start := time.Now()
	if err := c.say(size); err != nil {
		t.Errorf("%d bytes by a connection from before: %v", size, err)
	}
	t.Logf("%d bytes there and back by each connection from before, in %s", size, time.Since(start).Round(time.Millisecond))
}

// TestMigrationOff: without the switch nothing leaves by the network that was there before, and nothing comes in by it.
func TestMigrationOff(t *testing.T) {
	ctx := testContext(t)
	s, _ := flannelScene(ctx, t, flannelVXLAN)
	n1 := s.Node("n1")
	for _, n := range s.Nodes() {
		s.addPod(ctx, t, n, "p1")
	}
	s.meshed(ctx, t)
	s.startAgent(ctx, t, n1, podsBefore)
	for _, v4 := range []bool{true, false} {
		for _, c := range []struct {
			from, to *lab.Pod
			counter  string
		}{{s.pod("n1"), s.pod("n2"), "clear"}, {s.pod("n2"), s.pod("n1"), "foreign"}} {
			before := droppedBy(ctx, t, n1, "warren-mesh", c.counter)
			if err := quickPing(ctx, &c.from.Host, c.to.Address(v4)); err == nil {
				t.Errorf("%s reaches %s", c.from.Addresses, c.to.Address(v4))
			}
			if n := droppedBy(ctx, t, n1, "warren-mesh", c.counter); n <= before {
				t.Errorf("%s to %s: %s has not counted", c.from.Name, c.to.Address(v4), c.counter)
			}
		}
	}
	if out := run(ctx, t, &n1.Host, "", "warren", "status"); strings.Contains(out, "migrated from") {
		t.Errorf("the status speaks of a migration:\n%s", out)
	}
	cmd := n1.Command(ctx, "warrend", "--node-name", "n1", "--kubeconfig", "/nowhere", "--cluster-cidr", "10.244.0.0/16,fd00:10:244::/48", "--migrate-from=eth0", "--metrics-bind-address=", "--socket=/run/other.sock", "--state-dir=/run/other")
	out, err := cmd.CombinedOutput()
	if want := "because of --migrate-from: link eth0 is among"; err == nil || !bytes.Contains(out, []byte(want)) {
		t.Errorf("%v: want %q:\n%s", err, want, out)
	}
}
