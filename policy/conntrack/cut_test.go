package conntrack

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/nft"
	"github.com/warren-mesh/warren/policy/revoke"
)

// BenchmarkCut is from when the kernel holds a change to when what it forbids is cut (cut-ms) and forgotten, by the wall's clock and by the
// processor's (cpu-ms), on a node with 100,000 flows: of 100 pods with ten peers each, a hundred of each peer.
func BenchmarkCut(b *testing.B) {
	const pods, peers, each = 100, 10, 100
	for _, six := range []bool{false, true} {
		address := func(kind byte, i int) netip.Addr {
			if six {
				return netip.AddrFrom16([16]byte{0: 0xfd, 13: kind, 14: byte(i >> 8), 15: byte(i)})
			}
			return netip.AddrFrom4([4]byte{10, kind, byte(i >> 8), byte(i)})
		}
		family, kind := "IPv4", policy.Addresses4
		if six {
			family, kind = "IPv6", policy.Addresses6
		}
		now := policy.Ruleset{Sets: map[string]policy.Set{}, Chains: map[string]policy.Chain{}, Pods: map[string]policy.Binding{}}
		var flows []policy.Flow
		for i := range pods {
			set := policy.Set{Name: fmt.Sprintf("peers-%d", i), Kind: kind, Members: map[policy.Member]struct{}{}}
			chain := policy.Chain{Name: fmt.Sprintf("in-%d", i), Rules: []policy.Rule{{Peer: set.Name, Verdict: policy.Accept}, {Verdict: policy.Deny}}}
			pod := policy.Binding{Interface: fmt.Sprintf("wrp%012d", i), Addresses: []netip.Addr{address(1, i)}, Ingress: chain.Name}
			for p := range peers {
				peer := address(2, i*peers+p)
				set.Members[policy.Member{Address: peer}] = struct{}{}
				for n := range each {
					flows = append(flows, policy.Flow{
						Protocol: policy.TCP, From: netip.AddrPortFrom(peer, uint16(2000+n)), To: netip.AddrPortFrom(pod.Addresses[0], 80),
					})
				}
			}
			now.Sets[set.Name], now.Chains[chain.Name], now.Pods[pod.Interface] = set, chain, pod
		}
		for _, gone := range []int{1, peers, pods * peers} {
			b.Run(fmt.Sprintf("%s, %d peers go", family, gone), func(b *testing.B) { cut(b, now, flows, gone) })
		}
	}
}

// untilCut notes when flows are kept from passing, which is before they are forgotten.
type untilCut struct {
	*Tracker
	cut time.Time
}

func (u *untilCut) Delete(flows []policy.Tracked) error {
	u.cut = time.Now()
	return u.Tracker.Delete(flows)
}

// processor is how long this process and the kernel for it have had it.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func cut(b *testing.B, now policy.Ruleset, flows []policy.Flow, gone int) {
	b.Helper()
	tracker := open(b)
	table, err := nft.New(nft.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	after := policy.Ruleset{Sets: map[string]policy.Set{}, Chains: now.Chains, Pods: now.Pods}
	removed, left := map[string][]policy.Member{}, gone
	for name, s := range now.Sets {
		stay := policy.Set{Name: name, Kind: s.Kind, Members: map[policy.Member]struct{}{}}
		for m := range s.Members {
			if left > 0 {
				removed[name] = append(removed[name], m)
				left--
			} else {
				stay.Members[m] = struct{}{}
			}
		}
		after.Sets[name] = stay
	}
	for _, f := range flows {
		track(b, f, f.To, established)
	}
	revoked, cut, used := 0, time.Duration(0), time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		if _, err := table.Set(now); err != nil {
			b.Fatal(err)
		}
		flowsCut := &untilCut{Tracker: tracker}
		v := revoke.New(table, flowsCut)
		v.All(now)
		if _, err := v.Settle(func() (revoke.State, error) { return revoke.State{Rules: now}, nil }); err != nil {
			b.Fatal(err)
		}
		for _, f := range flows {
			if revoked > 0 && goes(removed, f) {
				track(b, f, f.To, established)
			}
		}
		delta := policy.Delta{MembersRemoved: removed}
		if err := table.Apply(delta); err != nil {
			b.Fatal(err)
		}
		before, start := processor(b), time.Now()
		b.StartTimer()
		v.After(delta, nil)
		got, err := v.Settle(func() (revoke.State, error) { return revoke.State{Rules: after}, nil })
		if revoked = got.Revoked; err != nil || revoked != gone*100 {
			b.Fatalf("%+v, %v", got, err)
		}
		cut += flowsCut.cut.Sub(start)
		used += processor(b) - before
	}
	b.ReportMetric(float64(cut.Milliseconds())/float64(b.N), "cut-ms/op")
	b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(revoked), "flows/op")
}

func goes(removed map[string][]policy.Member, f policy.Flow) bool {
	for _, members := range removed {
		for _, m := range members {
			if m.Address == f.From.Addr() {
				return true
			}
		}
	}
	return false
}
