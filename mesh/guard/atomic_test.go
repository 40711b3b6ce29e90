package guard

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/mesh"
)

// TestNoGap changes the guard again and again under a stream of packets that it has to stop: forwarded and sent by the node.
func TestNoGap(t *testing.T) {
	for family, s := range sides {
		t.Run(family, func(t *testing.T) {
			l := build(t, s)
			run(t, "ip route del %s dev warren0", s.peers)
			g := newGuard(t)
			set(t, g, dual())

			stop := make(chan struct{})
			var sent [2]atomic.Uint64
			ended := make(chan error)
			node := &host{&nfttest.Host{T: t, PID: unix.Gettid()}} // The test's thread, not the process: only the thread is in the namespace.
			go func() { ended <- l.pod.Within(func() error { return stream(s.peer, &sent[0], stop) }) }()
			go func() { ended <- node.Within(func() error { return stream(s.peer, &sent[1], stop) }) }()

			for i := range 300 {
				set(t, g, variants()[i%len(variants())])
				if i%7 == 0 {
					g.Forget()
				}
			}
			leaked := l.lan.seen("pods")
			run(t, "nft flush chain inet warren-mesh egress")
			for deadline := time.Now().Add(10 * time.Second); l.lan.seen("pods") == leaked; {
				if time.Now().After(deadline) {
					t.Fatal("without the rule nothing leaves in clear: this test proves nothing")
				}
			}
			close(stop)
			for range sent {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			if sent[0].Load() < 1000 || sent[1].Load() < 1000 {
				t.Errorf("only %d and %d packets were sent: this test proves nothing", sent[0].Load(), sent[1].Load())
			}
			if leaked != 0 {
				t.Errorf("%d of %d packets left in clear", leaked, sent[0].Load()+sent[1].Load())
			}
			t.Logf("%d packets forwarded and %d sent by the node during 300 changes", sent[0].Load(), sent[1].Load())
		})
	}
}

// variants differ in elements and in rules; none of them lets the stream through.
func variants() []mesh.Guard {
	a, b, c, d := dual(), dual(), dual(), dual()
	b.Own = append(b.Own, prefixes("10.244.3.0/24", "10.244.4.0/22", "fd00:244:0:3::/64")...)
	c.Lanes, c.Mesh = []string{"warren0", "warren1"}, nil
	// One more range, and the range that the stream goes to becomes a larger one.
	d.Cluster = append(d.Cluster, prefixes("10.250.0.0/16", "10.244.0.0/15", "fd00:250::/56", "fd00:244::/55")...)
	d.Mesh = d.Mesh[:1]
	return []mesh.Guard{a, b, c, d}
}

// stream sends UDP packets as fast as it can.
func stream(to string, sent *atomic.Uint64, stop <-chan struct{}) error {
	conn, err := net.Dial("udp", net.JoinHostPort(to, "9"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		// A drop in the output path is EPERM for the sender, and a full queue ENOBUFS.
		if _, err := conn.Write([]byte("in clear")); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		sent.Add(1)
	}
}
