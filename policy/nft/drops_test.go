package nft

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/drops"
)

// TestDrops follows the log group while packets are dropped for every reason.
func TestDrops(t *testing.T) {
	const group = 5
	l := build(t)
	table := newTable(t, Options{LogGroup: group})
	denyIn, denyHost := deny, port(policy.TCP, 80, 80, policy.Deny)
	denyIn.ID = policy.RuleID{Tier: policy.NetworkPolicyTier, Namespace: "shop", Policy: "default-deny", Rule: -1}
	denyHost.ID = policy.RuleID{Tier: policy.AdminTier, Policy: "no-nodes", Rule: 2, Name: "web"}
	a := boundA("ingress-1", "")
	a.Host = "egress-1"
	set(t, table, ruleset(sets(), []policy.Chain{in(fromB6, denyIn), out(denyHost)}, a, boundB("", "")))
	told := make(chan drops.Record, 100)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	node := l.node()
	go func() {
		ended <- node.Within(func() error {
			return drops.Follow(ctx, group, table, func(r drops.Record) { told <- r })
		})
	}()
	l.listened(group)
	for _, c := range []struct {
		probe string
		f     policy.SetKind
		want  drops.Record
	}{
		{"world>a udp 81", policy.Addresses4, drops.Record{
			From: netip.MustParseAddrPort("192.168.7.2:0"), To: netip.MustParseAddrPort("10.244.1.5:81"), Protocol: policy.UDP, In: "eth0", Out: ifA,
			Direction: policy.Ingress, Interface: ifA, Reason: drops.ByRule, Rule: denyIn.ID,
		}},
		{"peer>a tcp 82", policy.Addresses6, drops.Record{
			From: netip.MustParseAddrPort("[fd00:244:0:2::7]:0"), To: netip.MustParseAddrPort("[fd00:244:0:1::5]:82"), Protocol: policy.TCP, In: "warren0", Out: ifA,
			Direction: policy.Ingress, Interface: ifA, Reason: drops.ByRule, Rule: denyIn.ID,
		}},
		{"a>node tcp 80", policy.Addresses4, drops.Record{
			From: netip.MustParseAddrPort("10.244.1.5:0"), To: netip.MustParseAddrPort("192.168.7.1:80"), Protocol: policy.TCP, In: ifA,
			Direction: policy.Egress, Interface: ifA, Reason: drops.ByRule, Rule: denyHost.ID,
		}},
		{"c>world icmp", policy.Addresses4, drops.Record{
			From: netip.MustParseAddrPort("10.244.1.7:0"), To: netip.MustParseAddrPort("192.168.7.2:0"), Protocol: policy.ICMP, In: ifC, Out: "eth0",
			Direction: policy.Egress, Interface: ifC, Reason: drops.NotBound,
		}},
		{"world>c tcp 80", policy.Addresses4, drops.Record{
			From: netip.MustParseAddrPort("192.168.7.2:0"), To: netip.MustParseAddrPort("10.244.1.7:80"), Protocol: policy.TCP, In: "eth0", Out: ifC,
			Direction: policy.Ingress, Interface: ifC, Reason: drops.NotBound,
		}},
	} {
		if l.passes(c.f, c.probe) {
			t.Fatalf("%s passes: this test proves nothing", c.probe)
		}
		select {
		case got := <-told:
			if since := time.Since(got.Time); since > 10*time.Second || since < -time.Second {
				t.Errorf("%s: told of %v ago", c.probe, since)
			}
			ports := cmp.Comparer(func(a, b netip.AddrPort) bool {
				return a.Addr() == b.Addr() && (a.Port() == b.Port() || a.Port() == 0 || b.Port() == 0)
			})
			if d := cmp.Diff(c.want, got, ports, cmpopts.IgnoreFields(drops.Record{}, "Time")); d != "" {
				t.Errorf("%s (-want +got):\n%s", c.probe, d)
			}
		case <-time.After(3 * time.Second):
			t.Fatalf("%s: nothing was told", c.probe)
		}
		for len(told) > 0 {
			<-told // Repetitions.
		}
	}
	dropped, err := table.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range dropped {
		if (by.Packets > 0) == by.Revoked {
			t.Errorf("counted %+v", by)
		}
	}
	if len(dropped) != len(Options{}.baseCounters()) {
		t.Errorf("%d counters of %d: %+v", len(dropped), len(Options{}.baseCounters()), dropped)
	}
	if err := node.Within(func() error { return drops.Probe(t.Context(), group) }); err != nil {
		t.Errorf("while somebody follows: %v", err)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("in the end: %v", err)
		}
	case <-time.After(3 * time.Second):
		t.Error("it does not end")
	}
}

// TestDropsLost has somebody follow who takes his time: what the kernel lost is counted.
func TestDropsLost(t *testing.T) {
	const group, packets = 6, 4000
	l := build(t)
	node := l.node()
	if err := node.Within(func() error { return drops.Probe(t.Context(), group) }); err != nil {
		t.Fatal(err)
	}
	node.Run(`nft "add table inet flood; add chain inet flood out { type filter hook output priority 0; }; add rule inet flood out udp dport 9 log prefix \"revoked\" group %d drop"`, group)
	table := newTable(t, Options{})
	told, missed := make(chan uint32), 0
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- node.Within(func() error {
			return drops.Follow(ctx, group, table, func(r drops.Record) {
				select {
				case told <- r.Missed:
				case <-ctx.Done():
				}
			})
		})
	}()
	l.listened(group)
	send := func(n int) {
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		for range n {
			_, _ = c.Write([]byte("x")) // It is dropped, and says so.
		}
	}
	send(packets) // Nobody listens yet: they wait in the kernel, or are lost.
	count := 0
	for last := false; ; {
		select {
		case err := <-ended:
			t.Fatalf("it follows no more: %v", err)
		case n := <-told:
			count, missed = count+1, missed+int(n)
		case <-time.After(500 * time.Millisecond):
			if last {
				t.Errorf("%d were told of and %d missed of %d", count, missed, packets+1)
			}
			last = true
			send(1) // The next record says what was lost before it.
		}
		if count+missed == packets+1 {
			break
		}
		if last && count+missed > packets+1 {
			t.Fatalf("%d were told of and %d missed of %d", count, missed, packets+1)
		}
	}
	if missed == 0 || count == 0 {
		t.Errorf("%d were told of and %d missed: this test proves nothing", count, missed)
	}
	t.Logf("of %d packets %d were told of and %d lost, and known to be", packets+1, count, missed)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// listened waits until somebody listens to a log group and has said how: what is logged before that is among the answers, and ends it.
func (l *lab) listened(group uint16) {
	l.t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) { // The kernel tells of it nowhere else.
		text, err := os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_log")
		if err != nil {
			l.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const usual = "100" // hundredths of a second until a packet is told of, where nobody has said otherwise, which is the last that is said
			if fields := strings.Fields(line); len(fields) > 5 && fields[0] == strconv.Itoa(int(group)) && fields[5] != usual {
				return
			}
		}
		if time.Since(start) > 10*time.Second {
			l.t.Fatalf("nobody listens to log group %d:\n%s", group, text)
		}
	}
}
