package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/podnet"
)

// TestSizes: packets of every size around the lane's MTU, fragments in any order, and pods whose MTU is larger than the lane's.
func TestSizes(t *testing.T) { //nolint:tparallel // its parts come one after the other
	t.Parallel()
	for underlay, mtu := range map[lab.Families]int{lab.IPv4: 1440, lab.IPv6: 1420} {
		t.Run(fmt.Sprintf("%s underlay", underlay), func(t *testing.T) {
			ctx := testContext(t)
			s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual, UnderlayFamilies: underlay})
			s.meshed(ctx, t)
			for _, way := range [][2]*lab.Pod{{s.pod("n1"), s.pod("n2")}, {s.pod("n2"), s.pod("n1")}} {
				for _, to := range way[1].Addresses {
					from := &way[0].Host
					eachSize(ctx, t, from, to, mtu)
					wholeOrRefused(ctx, t, from, to, mtu)
					inFragments(ctx, t, from, to, mtu)
					zeroChecksum(ctx, t, from, to)
				}
			}
			for _, larger := range []int{1500, 4000} {
				largerMTU(ctx, t, s, larger, mtu)
			}
			s.sealed(ctx, t)
		})
	}
}

// atOnce is how many sizes are tried at the same time.
const atOnce = 8

// eachSize sends one UDP packet of each size, none of them twice, and as many bytes by TCP.
func eachSize(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr, mtu int) {
	t.Helper()
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for size := 1200; size <= mtu+100; size++ {
		group.Go(func() error { return from.ReachOnce(ctx, to, size-ipHeader(to)-udpHeader) })
		group.Go(func() error { return from.Reach(ctx, to, "tcp", size) })
	}
	if err := group.Wait(); err != nil {
		t.Errorf("sizes one by one: %v", err)
	}
	t.Logf("%s to %s: sizes 1200 to %d in %s", from.Name, to, mtu+100, time.Since(start).Round(time.Millisecond))
}

// wholeOrRefused sends what may not be fragmented: at the MTU it passes, and one byte more the pod's own kernel refuses.
func wholeOrRefused(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr, mtu int) {
	t.Helper()
	largest := mtu - ipHeader(to) - icmpHeader
	if err := from.Ping(ctx, to, lab.PingOptions{Size: largest, DontFragment: true}); err != nil {
		t.Errorf("a packet of %d bytes, the MTU: %v", mtu, err)
	}
	err := from.Ping(ctx, to, lab.PingOptions{Size: largest + 1, DontFragment: true})
	if !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a packet of one byte more than the MTU of %d: %v, want %v", mtu, err, unix.EMSGSIZE)
	}
}

// inFragments sends fragments in order, in reverse and shuffled: of the MTU, and many small ones.
func inFragments(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr, mtu int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2)) // the same orders each time
	shuffle := func(f [][]byte) { random.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] }) }
	for name, arrange := range map[string]func([][]byte){
		"in order": func([][]byte) {}, "in reverse": slices.Reverse[[][]byte],
		"shuffled": shuffle, "shuffled again": shuffle, "shuffled once more": shuffle,
	} {
		for _, size := range []int{2000, 4000, 20000} {
			for _, largest := range []int{mtu, 576} {
				if err := echoByFragments(ctx, from, to, size, largest, nextID(), arrange); err != nil {
					t.Errorf("%s to %s, fragments of %d, %s: %v", from.Name, to, largest, name, err)
				}
			}
		}
	}
}

// ids are for fragments that must never be taken for an earlier packet's.
var ids atomic.Uint32

func nextID() uint16 { return uint16(ids.Add(1)) } // fewer than that

// largerMTU gives each node a pod with an MTU larger than the lane's, as pods have that were there before a change of the underlay.
func largerMTU(ctx context.Context, t *testing.T, s *scene, mtu, lane int) {
	t.Helper()
	name := "large" + strconv.Itoa(mtu)
	for _, n := range s.Nodes() {
		p := s.addPod(ctx, t, n, name)
		run(ctx, t, &n.Host, "", "ip", "link", "set", podnet.HostLink(p.Namespace, p.ObjectName, "eth0"), "mtu", strconv.Itoa(mtu))
		run(ctx, t, &p.Host, "", "ip", "link", "set", "eth0", "mtu", strconv.Itoa(mtu))
	}
	for _, way := range [][2]string{{"n1", "n2"}, {"n2", "n1"}} {
		from, node := s.Node(way[0]).Pod(name), s.Node(way[1])
		for _, to := range node.Pod(name).Addresses {
			clamped(ctx, t, &from.Host, to, lane)
		}
		for _, to := range node.Pod("p1").Addresses {
			clamped(ctx, t, &from.Host, to, lane)
			forwarded(ctx, t, &from.Host, to, mtu, lane)
		}
	}
}

// forwarded sends packets that the sender's own node must fragment or refuse.
func forwarded(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr, mtu, lane int) {
	t.Helper()
	large := lab.PingOptions{Size: mtu - ipHeader(to) - icmpHeader}
	if to.Is4() {
		if err := from.Ping(ctx, to, large); err != nil {
			t.Errorf("%s, MTU %d: a packet that may be fragmented: %v", from.Name, mtu, err)
		}
	}
	large.DontFragment = true
	err := from.Ping(ctx, to, large)
	var tooBig *lab.Unreachable
	if !errors.As(err, &tooBig) || tooBig.MTU != lane {
		t.Errorf("%s, MTU %d: a packet that may not be fragmented: %v, want packet too big with MTU %d", from.Name, mtu, err, lane)
	}
	// The pod has learnt by now. Were it not for that ICMP, this would be lost.
	if err := from.Reach(ctx, to, "udp", mtu-ipHeader(to)-udpHeader); err != nil {
		t.Errorf("%s, MTU %d: %v", from.Name, mtu, err)
	}
}

// clamped sends 1 MB by TCP, whose segments fit into the lane from the beginning.
func clamped(ctx context.Context, t *testing.T, from *lab.Host, to netip.Addr, lane int) {
	t.Helper()
	conn, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(to, lab.EchoPort).String())
	if err != nil {
		t.Error(err)
		return
	}
	segment, err := segmentSize(conn)
	_ = conn.Close()
	if most := lane - ipHeader(to) - tcpHeader; err != nil || segment > most {
		t.Errorf("%s to %s: segments of %d bytes, want at most %d: %v", from.Name, to, segment, most, err)
	}
	if err := from.Reach(ctx, to, "tcp", 1<<20); err != nil {
		t.Error(err)
	}
}

// segmentSize is how much a connection sends in one segment, in bytes.
func segmentSize(conn net.Conn) (size int, err error) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	return int(info.Snd_mss), nil
}
