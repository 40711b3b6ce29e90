package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

// followed is how soon the mesh must fit a changed underlay.
const followed = 5 * time.Second

// TestPathMTU: what fits toward a peer follows the underlay's route to that peer, and the links', on pods and connections that were there
// before; other peers' paths are not touched.
func TestPathMTU(t *testing.T) { //nolint:tparallel // its parts come one after the other
	t.Parallel()
	for _, p := range []pathMTUs{
		{lab.IPv4, 1440, 1328, 1320}, // 1500, 1400 and 1380 less 60
		{lab.IPv6, 1420, 1312, 1300}, // less 80
	} {
		t.Run(fmt.Sprintf("%s underlay", p.underlay), func(t *testing.T) { p.test(t) })
	}
}

// pathMTUs are what fits into the lane: by links of 1500, by a route of 1400, of which WireGuard may need some to pad to 16 bytes, and
// by links of 1380.
type pathMTUs struct {
	underlay           lab.Families
	whole, route, link int
}

func (p pathMTUs) test(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual, UnderlayFamilies: p.underlay})
	s.meshed(ctx, t)
	n1, n2 := s.Node("n1"), s.Node("n2")
	open := map[netip.Addr]net.Conn{}
	for _, to := range s.pod("n2").Addresses {
		conn, err := s.pod("n1").Dial(ctx, "tcp", netip.AddrPortFrom(to, lab.EchoPort).String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		open[to] = conn
		if err := echoed(conn, 1<<20); err != nil {
			t.Fatal(err)
		}
	}

	// A route that takes less, one for each way of one pair.
	for _, way := range [][2]*lab.Node{{n1, n2}, {n2, n1}} {
		run(ctx, t, &way[0].Host, "", "ip", "route", "add", way[1].Addresses[0].String(), "dev", "eth0", "mtu", "1400")
	}
	for i, to := range s.pod("n2").Addresses {
		took := eventually(ctx, t, followed, func() error { return fits(ctx, s.pod("n1"), to, p.whole, p.route) })
		t.Logf("to %s, %d bytes fit %s after the route", to, p.route, took.Round(time.Millisecond))
		eventually(ctx, t, followed, func() error { return fits(ctx, s.pod("n2"), s.pod("n1").Addresses[i], p.whole, p.route) })
		clamped(ctx, t, &s.pod("n1").Host, to, p.route)
		start := time.Now()
		if err := echoed(open[to], 1<<20); err != nil {
			t.Errorf("a connection to %s that was open before: %v", to, err)
		}
		t.Logf("1 MiB there and back by a connection that was open before: %s", time.Since(start).Round(time.Millisecond))
		if err := fits(ctx, s.pod("n1"), s.pod("n3").Addresses[i], p.whole, p.whole); err != nil {
			t.Errorf("to the other node: %v", err)
		}
	}

	// Links that take less, and less than the routes of before say.
	if err := s.SetUnderlayMTU(1380); err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	for _, n := range []*lab.Node{n2, s.Node("n3")} {
		// A pod may learn of it by the other end. But WireGuard pads what the lane takes, and then no burst of it leaves by the link.
		eventually(ctx, t, followed-time.Since(changed), func() error { return laneTakes(ctx, t, n, p.link) })
		t.Logf("the lane of %s takes %d bytes %s after the links", n.Name, p.link, time.Since(changed).Round(time.Millisecond))
	}
	for i, to := range s.pod("n3").Addresses {
		eventually(ctx, t, followed, func() error { return fits(ctx, s.pod("n2"), to, p.whole, p.link) })
		eventually(ctx, t, followed, func() error { return fits(ctx, s.pod("n3"), s.pod("n2").Addresses[i], p.whole, p.link) })
		clamped(ctx, t, &s.pod("n2").Host, to, p.link)
	}

	// And more again: for pods that have not learnt of less.
	if err := s.SetUnderlayMTU(1500); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*lab.Node{n2, s.Node("n3")} {
		eventually(ctx, t, followed, func() error { return laneTakes(ctx, t, n, p.whole) })
		s.addPod(ctx, t, n, "p2")
	}
	for _, to := range s.Node("n3").Pod("p2").Addresses {
		if err := fits(ctx, s.Node("n2").Pod("p2"), to, p.whole, p.whole); err != nil {
			t.Error(err)
		}
	}
	s.sealed(ctx, t)
}

// laneTakes is an error unless a node's lane has an MTU.
func laneTakes(ctx context.Context, t *testing.T, n *lab.Node, mtu int) error {
	t.Helper()
	if link := run(ctx, t, &n.Host, "", "ip", "link", "show", "warren0"); !strings.Contains(link, fmt.Sprintf(" mtu %d ", mtu)) {
		return errors.New(link)
	}
	return nil
}

// fits is an error unless a pod of an MTU learns by at most one ICMP error that so many bytes are what fits to an address, and they do.
func fits(ctx context.Context, from *lab.Pod, to netip.Addr, mtu, want int) error {
	ping := func(size int) error {
		return from.Ping(ctx, to, lab.PingOptions{Size: size - ipHeader(to) - icmpHeader, DontFragment: true, Timeout: time.Second})
	}
	if want < mtu {
		err := ping(want + 1)
		var tooBig *lab.Unreachable
		switch {
		case errors.As(err, &tooBig) && tooBig.MTU == want:
		case errors.Is(err, unix.EMSGSIZE): // it has learnt before
		default:
			return fmt.Errorf("%s to %s: %d bytes: %w, want packet too big with MTU %d", from.Name, to, want+1, err, want)
		}
	}
	if err := ping(want); err != nil {
		return fmt.Errorf("%s to %s: %d bytes: %w", from.Name, to, want, err)
	}
	return nil
}

// echoed sends so many bytes by a connection to an echo service, and is content when they are back.
func echoed(conn net.Conn, size int) error {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		failed <- err
	}()
	got := make([]byte, len(sent))
	_, err := io.ReadFull(conn, got)
	if err = errors.Join(err, <-failed); err == nil && !bytes.Equal(sent, got) {
		err = errors.New("other bytes came back")
	}
	return err
}
