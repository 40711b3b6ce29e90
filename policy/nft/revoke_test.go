package nft

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/conntrack"
	"github.com/warren-mesh/warren/policy/revoke"
)

// stream is a flow from one pod to another, of which both ends are in the test's hands.
type stream struct{ near, far net.Conn }

func (s stream) close() { _, _ = s.near.Close(), s.far.Close() }

// open opens a flow. The far end is bound to the near one, for UDP too.
func (l *lab) open(network string, from, to *host, f policy.SetKind) stream {
	l.t.Helper()
	var s stream
	server := netip.AddrPortFrom(to.to(f), 9000)
	client := netip.AddrPortFrom(from.to(f), 9001)
	dial := func(h *host, local, remote netip.AddrPort) (c net.Conn) {
		l.t.Helper()
		if err := h.Within(func() (err error) {
			if network == "udp" {
				c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
				return err
			}
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local), Timeout: patience}
			c, err = d.Dial("tcp", remote.String())
			return err
		}); err != nil {
			l.t.Fatal(err)
		}
		return c
	}
	if network == "udp" {
		s = stream{near: dial(from, client, server), far: dial(to, server, client)}
	} else {
		var listener net.Listener
		if err := to.Within(func() (err error) { listener, err = net.Listen("tcp", server.String()); return err }); err != nil {
			l.t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		s.near = dial(from, netip.AddrPortFrom(client.Addr(), 0), server)
		var err error
		if s.far, err = listener.Accept(); err != nil {
			l.t.Fatal(err)
		}
	}
	l.t.Cleanup(s.close)
	if !s.carries(true) || !s.carries(false) {
		l.t.Fatalf("%s carries nothing from the beginning", network)
	}
	return s
}

// carries says whether a word from one end arrives at the other.
func (s stream) carries(there bool) bool {
	from, to := s.far, s.near
	if there {
		from, to = s.near, s.far
	}
	_ = from.SetWriteDeadline(time.Now().Add(patience))
	if _, err := from.Write([]byte("word")); err != nil {
		return false
	}
	_ = to.SetReadDeadline(time.Now().Add(patience))
	_, err := to.Read(make([]byte, 4))
	return err == nil
}

// TestRevoke forbids a flow while it is used: by the end that opened it, by the other one, and by both. The other direction stays allowed,
// so that whatever is forgotten could begin anew.
func TestRevoke(t *testing.T) {
	l := build(t)
	a, b := l.hosts["a"], l.hosts["b"]
	table := newTable(t, Options{LogGroup: 5})
	tracker, err := conntrack.New()
	if err != nil {
		t.Fatal(err)
	}
	defer tracker.Close()
	open := ruleset(nil, nil, boundA("", ""), boundB("", ""))
	closed := ruleset(nil, []policy.Chain{out(port(policy.TCP, 9000, 9000, policy.Deny), port(policy.UDP, 9000, 9000, policy.Deny))}, boundA("", "egress-1"), boundB("", ""))
	forbid := policy.Delta{ChainsAdded: []policy.Chain{closed.Chains["egress-1"]}, PodsSet: []policy.Binding{closed.Pods[ifA]}}
	allow := policy.Delta{PodsSet: []policy.Binding{open.Pods[ifA]}, ChainsRemoved: []string{"egress-1"}}
	for _, network := range []string{"tcp", "udp"} {
		for family, f := range map[string]policy.SetKind{"IPv4": policy.Addresses4, "IPv6": policy.Addresses6} {
			for _, sends := range [][]bool{{true}, {false}, {true, false}} {
				name := fmt.Sprintf("%s over %s, sent by its opener: %v", network, family, sends)
				set(t, table, open)
				run(t, "conntrack -F") // What ended is still known for a while.
				v := revoke.New(table, tracker)
				s := l.open(network, a, b, f)
				other := l.open("tcp", b, a, f)
				apply(t, table, forbid)
				start := time.Now()
				v.After(forbid, nil)
				got, err := v.Settle(func() (revoke.State, error) { return revoke.State{Rules: closed}, nil })
				if err != nil || got.Revoked != 1 {
					t.Fatalf("%s: %+v, %v", name, got, err)
				}
				for range 3 {
					for _, there := range sends {
						if s.carries(there) {
							t.Errorf("%s: it still carries, %v after", name, time.Since(start))
						}
					}
				}
				if !other.carries(true) || !other.carries(false) {
					t.Errorf("%s: an allowed flow was cut", name)
				}
				apply(t, table, allow)
				v.After(allow, nil)
				got, err = v.Settle(func() (revoke.State, error) { return revoke.State{Rules: open}, nil })
				if err != nil || got.Restored != 1 {
					t.Fatalf("%s: allowed again: %+v, %v", name, got, err)
				}
				s.close()
				other.close()
				run(t, "conntrack -F")
				l.open(network, a, b, f).close() // The same ports, for UDP.
			}
		}
	}
}

// TestRestoreUnderWay gives a flow back although a packet of it was on its way through the rules, and was remembered after that.
func TestRestoreUnderWay(t *testing.T) {
	l := build(t)
	afterwards := func() {} // what happens after the next transaction
	table := newTable(t, Options{OnTransaction: func(Transaction) {
		do := afterwards
		afterwards = func() {}
		do()
	}})
	set(t, table, ruleset(nil, nil, boundA("", ""), boundB("", "")))
	for f, insisting := range map[policy.SetKind]nft.Set{
		policy.Addresses4: {Name: insisting4, Kind: nft.IPv4Flows}, policy.Addresses6: {Name: insisting6, Kind: nft.IPv6Flows},
	} {
		run(t, "conntrack -F")
		a, b := l.hosts["a"], l.hosts["b"]
		from, to := netip.AddrPortFrom(a.to(f), 9001), netip.AddrPortFrom(b.to(f), 9000)
		s := l.open("udp", a, b, f)
		flows := []policy.Flow{{Protocol: policy.UDP, From: from, To: to}}
		if err := table.Revoke(flows); err != nil {
			t.Fatal(err)
		}
		run(t, "conntrack -F")
		late := func() {
			insisting.Elements = []nft.Element{nft.FlowElement(from, to, uint8(policy.UDP), revokedOther)}
			if err := table.send(nft.Change{Add: []nft.Set{insisting}}); err != nil {
				t.Error(err)
			}
		}
		if err := table.changeRevoked(flows, false); err != nil {
			t.Fatal(err)
		}
		late()
		if s.carries(true) {
			t.Error("control: what was remembered late keeps no flow away")
		}
		afterwards = late
		if err := table.Restore(flows); err != nil {
			t.Fatal(err)
		}
		if !s.carries(true) || !s.carries(false) {
			t.Errorf("%v: it does not carry again", flows[0])
		}
		s.close()
	}
}

// TestRevokedOutlive an agent: what it revoked is known to the next one, with who opened it.
func TestRevokedOutlive(t *testing.T) {
	namespace(t)
	table := newTable(t, Options{})
	if err := table.Revoke(nil); err == nil {
		t.Error("revoked before the kernel was read")
	}
	set(t, table, every())
	flows := []policy.Flow{
		{Protocol: policy.TCP, From: netip.MustParseAddrPort("10.0.0.5:4000"), To: netip.MustParseAddrPort("10.0.0.6:80")},
		{Protocol: policy.UDP, From: netip.MustParseAddrPort("[fd00::5]:4000"), To: netip.MustParseAddrPort("[fd00::6]:80")},
		{Protocol: policy.ICMP, From: netip.MustParseAddrPort("10.0.0.5:0"), To: netip.MustParseAddrPort("10.0.0.6:0")}, // Nothing to keep.
	}
	if err := table.Revoke(flows); err != nil {
		t.Fatal(err)
	}
	next := newTable(t, Options{})
	if drift := set(t, next, every()); drift != (Drift{}) {
		t.Errorf("drift %+v", drift)
	}
	known := next.Revoked()
	if len(known) != 2 || known[0].To.Port() != 80 || known[1].To.Port() != 80 {
		t.Errorf("known: %v", known)
	}
	for range 2 { // The second time there is nothing to restore.
		if err := next.Restore(flows); err != nil {
			t.Fatal(err)
		}
	}
	if set(t, table, every()); len(table.Revoked()) != 0 {
		t.Errorf("left: %v", table.Revoked())
	}
}
