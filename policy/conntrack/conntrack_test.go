package conntrack

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/policy"
)

func open(tb testing.TB) *Tracker {
	tb.Helper()
	nfttest.Isolate(tb)
	tracker, err := New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(tracker.Close)
	return tracker
}

const established, timeWait = 3, 7 // of TCP

// track has the kernel keep track of a flow to a service's address, which a DNAT sent to where it answers.
func track(tb testing.TB, f policy.Flow, service netip.AddrPort, tcpState uint8) {
	tb.Helper()
	tuple := func(from, to netip.AddrPort) netlink.IPTuple {
		return netlink.IPTuple{
			SrcIP: from.Addr().AsSlice(), SrcPort: from.Port(), DstIP: to.Addr().AsSlice(), DstPort: to.Port(), Protocol: uint8(f.Protocol),
		}
	}
	family := uint8(unix.AF_INET6)
	if f.From.Addr().Is4() {
		family = unix.AF_INET
	}
	flow := &netlink.ConntrackFlow{FamilyType: family, Forward: tuple(f.From, service), Reverse: tuple(f.To, f.From), TimeOut: 600}
	if f.Protocol == policy.TCP {
		flow.ProtoInfo = &netlink.ProtoInfoTCP{State: tcpState}
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, netlink.InetFamily(family), flow); err != nil {
		tb.Fatalf("%v: %v", f, err)
	}
}

func flow(p policy.Protocol, from, to string) policy.Flow {
	return policy.Flow{Protocol: p, From: netip.MustParseAddrPort(from), To: netip.MustParseAddrPort(to)}
}

func among(ends ...string) map[netip.Addr]struct{} {
	out := map[netip.Addr]struct{}{}
	for _, e := range ends {
		out[netip.MustParseAddr(e)] = struct{}{}
	}
	return out
}

func all(policy.Flow) bool { return true }

func sorted(found []policy.Tracked) []policy.Flow {
	out := make([]policy.Flow, 0, len(found))
	for _, f := range found {
		out = append(out, f.Flow)
	}
	slices.SortFunc(out, func(a, b policy.Flow) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

// TestList finds flows by either end, as rules see them, and forgets those that it is told.
func TestList(t *testing.T) {
	tracker := open(t)
	direct, answered := flow(policy.TCP, "10.0.0.5:4000", "10.0.0.6:80"), flow(policy.UDP, "10.0.0.6:53", "10.0.0.5:53")
	served, hairpin := flow(policy.TCP, "10.0.0.5:4001", "10.0.0.7:8080"), flow(policy.TCP, "10.0.0.5:4002", "10.0.0.5:8080")
	six := flow(policy.UDP, "[fd00::5]:4000", "[fd00::6]:53")
	for _, f := range []policy.Flow{direct, answered, six} {
		track(t, f, f.To, established)
	}
	for _, f := range []policy.Flow{served, hairpin} {
		track(t, f, netip.MustParseAddrPort(fmt.Sprintf("10.96.0.%d:80", f.From.Port()-4000)), established)
	}
	ended := flow(policy.TCP, "10.0.0.5:5000", "10.0.0.6:80")
	track(t, ended, ended.To, timeWait)
	many := among("10.0.0.5", "fd00::5")
	for i := range fewEnds {
		many[netip.AddrFrom4([4]byte{10, 9, 9, byte(i)})] = struct{}{}
	}
	wants := []struct {
		name string
		ends map[netip.Addr]struct{}
		want []policy.Flow
	}{
		{"all", nil, []policy.Flow{hairpin, direct, served, answered, six}},
		{"of none", among(), nil},
		{"one that opens and answers", among("10.0.0.5"), []policy.Flow{hairpin, direct, served, answered}},
		{"where a DNAT sent it", among("10.0.0.7"), []policy.Flow{served}},
		{"a service, which is no end", among("10.96.0.1"), nil},
		{"two ends of one flow", among("10.0.0.5", "10.0.0.7"), []policy.Flow{hairpin, direct, served, answered}},
		{"IPv6, who answers", among("fd00::6"), []policy.Flow{six}},
		{"IPv6, who opened", among("fd00::5"), []policy.Flow{six}},
		{"IPv6, others", among("fd00::7"), nil},
		{"more than the kernel is asked for", many, []policy.Flow{hairpin, direct, served, answered, six}},
	}
	for _, unfiltered := range []bool{false, true} {
		tracker.unfiltered = unfiltered
		for _, c := range wants {
			slices.SortFunc(c.want, func(a, b policy.Flow) int { return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To)) })
			ways := map[string]func(map[netip.Addr]struct{}, func(policy.Flow) bool) ([]policy.Tracked, error){"few flows": tracker.List}
			if c.ends != nil {
				ways["many flows"] = tracker.listEnds
			}
			for way, list := range ways {
				if found, err := list(c.ends, all); err != nil || !slices.Equal(sorted(found), c.want) {
					t.Errorf("%s, as if of %s: %v, %v; want %v", c.name, way, sorted(found), err, c.want)
				}
			}
		}
		if !unfiltered && tracker.unfiltered {
			t.Error("this kernel filters, and is thought not to")
		}
	}
	tracker.unfiltered = false
	found, err := tracker.List(nil, func(f policy.Flow) bool { return f.To.Port() != 53 })
	if err != nil || len(found) != 3 {
		t.Fatalf("wanted are %v, %v", found, err)
	}
	for range 2 { // The second time it knows none of them.
		if err := tracker.Delete(found); err != nil {
			t.Error(err)
		}
	}
	if left, err := tracker.List(nil, all); err != nil || !slices.Equal(sorted(left), []policy.Flow{answered, six}) {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestDeleteAnother leaves a flow that came meanwhile, of the same addresses and ports.
func TestDeleteAnother(t *testing.T) {
	tracker := open(t)
	f := flow(policy.UDP, "10.0.0.5:53", "10.0.0.6:53")
	track(t, f, f.To, 0)
	found, err := tracker.List(nil, all)
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if err := tracker.Delete(found); err != nil {
		t.Fatal(err)
	}
	back := flow(policy.UDP, "10.0.0.6:53", "10.0.0.5:53")
	track(t, back, back.To, 0)
	if err := tracker.Delete(found); err != nil {
		t.Error(err)
	}
	if left, err := tracker.List(nil, all); err != nil || len(left) != 1 || left[0].Flow != back {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestCount counts the flows of both families.
func TestCount(t *testing.T) {
	tracker := open(t)
	for i, f := range []policy.Flow{flow(policy.TCP, "10.0.0.5:4000", "10.0.0.6:80"), flow(policy.UDP, "[fd00::5]:4000", "[fd00::6]:53")} {
		track(t, f, f.To, established)
		if got, err := tracker.count(); err != nil || got != uint32(i+1) {
			t.Errorf("%d, %v; want %d", got, err, i+1)
		}
	}
}

// BenchmarkList lists what 100,000 flows of 1,000 pods are.
func BenchmarkList(b *testing.B) {
	tracker := open(b)
	pod := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	const pods, flows = 1_000, 100_000
	for i := range flows {
		f := policy.Flow{Protocol: policy.TCP, From: netip.AddrPortFrom(pod(i%pods), uint16(1024+i/pods)), To: netip.AddrPortFrom(pod((i+7)%pods), 80)}
		track(b, f, f.To, established)
	}
	for _, n := range []int{1, fewEnds, pods} { // All of them are many flows.
		ends := map[netip.Addr]struct{}{}
		for i := range n {
			ends[pod(i)] = struct{}{}
		}
		b.Run(fmt.Sprintf("of %d pods", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				found, err := tracker.List(ends, all)
				if err != nil || len(found) == 0 {
					b.Fatal(len(found), err)
				}
			}
		})
	}
}
