package ipam

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func key(n int) Key { return Key{ContainerID: fmt.Sprintf("c%d", n), Interface: "eth0"} }

// model is what a table is held to: every address that a pod may have, with when it was last released, and by which release in order.
type model struct {
	prefixes []netip.Prefix
	held     map[Key][]netip.Addr
	released map[netip.Addr]int
	at       map[netip.Addr]time.Time
	releases int
}

// next is what is handed out: never released before released long ago, and among equals the lowest.
func (m *model) next(p netip.Prefix, now time.Time) (netip.Addr, bool) {
	var candidates []netip.Addr
	taken := slices.Concat(slices.Collect(maps.Values(m.held))...)
	last := p.Addr()
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		last = a
	}
	for a := p.Addr().Next().Next(); p.Contains(a); a = a.Next() {
		at, released := m.at[a]
		if slices.Contains(taken, a) || released && now.Sub(at) < CoolDown || a.Is4() && a == last {
			continue
		}
		candidates = append(candidates, a)
	}
	if len(candidates) == 0 {
		return netip.Addr{}, false
	}
	slices.SortStableFunc(candidates, func(a, b netip.Addr) int { return m.released[a] - m.released[b] })
	return candidates[0], true
}

func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.SampledFrom([][]netip.Prefix{
			{netip.MustParsePrefix("10.244.3.0/28")},
			{netip.MustParsePrefix("fd00:10:244:3::/124")},
			{netip.MustParsePrefix("10.244.3.16/29"), netip.MustParsePrefix("fd00:10:244:3::8/125")},
		}).Draw(t, "prefixes")
		source := NodeCIDRs(prefixes)
		m := &model{prefixes: prefixes, held: map[Key][]netip.Addr{}, released: map[netip.Addr]int{}, at: map[netip.Addr]time.Time{}}
		table, now := New(), start
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second) },
			"add": func(t *rapid.T) {
				k := key(rapid.IntRange(0, 20).Draw(t, "container"))
				want, full := m.held[k], false
				if want == nil {
					for _, p := range prefixes {
						a, ok := m.next(p, now)
						full = full || !ok
						want = append(want, a)
					}
				}
				got, err := table.Choose(Request{Key: k}, source, now)
				if full {
					if e := (*FullError)(nil); !errors.As(err, &e) {
						t.Fatalf("a full pool gives %v, %v", got.Addresses, err)
					}
					return
				}
				if err != nil || !slices.Equal(got.Addresses, want) {
					t.Fatalf("%v gets %v, %v; want %v", k, got.Addresses, err, want)
				}
				if err := table.Grant(got); err != nil {
					t.Fatal(err)
				}
				m.held[k] = want
			},
			"release": func(t *rapid.T) {
				k := key(rapid.IntRange(0, 20).Draw(t, "container"))
				held, ok := m.held[k]
				if table.Release(k, now) != ok {
					t.Fatalf("releasing %v: want %v", k, ok)
				}
				delete(m.held, k)
				for _, a := range held {
					m.releases++
					m.released[a], m.at[a] = m.releases, now
				}
			},
			"": func(t *rapid.T) {
				seen := map[netip.Addr]Key{}
				for _, l := range table.Leases() {
					for _, a := range l.Addresses {
						if other, ok := seen[a]; ok {
							t.Fatalf("%s is leased to %v and %v", a, other, l.Key)
						}
						seen[a] = l.Key
					}
				}
			},
		})
	})
}

func TestReserved(t *testing.T) {
	for text, want := range map[string]struct {
		first, last string
		size        uint64
	}{
		"10.244.3.0/24":        {"10.244.3.2", "10.244.3.254", 253},
		"10.244.0.0/16":        {"10.244.0.2", "10.244.64.1", maxUsable},
		"10.244.3.4/30":        {"10.244.3.6", "10.244.3.6", 1},
		"10.244.3.4/31":        {"", "", 0},
		"10.244.3.4/32":        {"", "", 0},
		"fd00:10:244:3::/64":   {"fd00:10:244:3::2", "fd00:10:244:3::4001", maxUsable},
		"fd00:10:244::/48":     {"fd00:10:244::2", "fd00:10:244::4001", maxUsable},
		"fd00:10:244:3::8/125": {"fd00:10:244:3::a", "fd00:10:244:3::f", 6},
	} {
		p := netip.MustParsePrefix(text)
		if got := usable(p); got != want.size {
			t.Errorf("%s: %d addresses, want %d", p, got, want.size)
		}
		if want.size == 0 {
			continue
		}
		for i, text := range map[uint64]string{0: want.first, want.size - 1: want.last} {
			a := netip.MustParseAddr(text)
			if got := address(p, i); got != a || !within(p, a) {
				t.Errorf("%s: address %d is %s (within: %v), want %s", p, i, got, within(p, a), a)
			}
		}
		for _, a := range []netip.Addr{p.Addr(), p.Addr().Next(), address(p, want.size-1).Next()} {
			if within(p, a) {
				t.Errorf("%s: a pod may have %s", p, a)
			}
		}
	}
}

func TestFullSaysSo(t *testing.T) {
	table, source := New(), NodeCIDRs{netip.MustParsePrefix("10.244.3.0/29")}
	for i := range 5 {
		lease, err := table.Choose(Request{Key: key(i)}, source, start)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Grant(lease); err != nil {
			t.Fatal(err)
		}
	}
	table.Release(key(1), start)
	_, err := table.Choose(Request{Key: key(9)}, source, start.Add(10*time.Second))
	const want = "no address is free in 10.244.3.0/29: 4 of 5 leased, 1 released less than 30s ago"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if got, err := table.Choose(Request{Key: key(9)}, source, start.Add(CoolDown)); err != nil || got.Addresses[0].String() != "10.244.3.3" {
		t.Errorf("after the cool-down: %v, %v", got.Addresses, err)
	}
	// A clock that was put back by much makes no address wait until it has caught up.
	if _, err := table.Choose(Request{Key: key(9)}, source, start.Add(-time.Hour)); err != nil {
		t.Errorf("with an earlier clock: %v", err)
	}
	if _, err := table.Choose(Request{Key: key(9)}, NodeCIDRs(nil), start); err == nil || !strings.Contains(err.Error(), "no pod CIDR") {
		t.Errorf("without a pod CIDR: %v", err)
	}
}

func TestGrantRefusesWhatIsHeld(t *testing.T) {
	table := New()
	a := netip.MustParseAddr("10.244.3.2")
	if err := table.Grant(Lease{Request: Request{Key: key(1)}, Addresses: []netip.Addr{a}}); err != nil {
		t.Fatal(err)
	}
	if err := table.Grant(Lease{Request: Request{Key: key(2)}, Addresses: []netip.Addr{a}}); !errors.Is(err, ErrHeld) {
		t.Errorf("granting again to another: %v", err)
	}
	if err := table.Free(Freed{Address: a}); !errors.Is(err, ErrHeld) {
		t.Errorf("freeing what is leased: %v", err)
	}
	if _, ok := table.Lease(key(2)); ok {
		t.Error("a refused lease holds")
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, leases := range []int{0, 50, 250} {
		b.Run(fmt.Sprint(leases, " leases"), func(b *testing.B) {
			table, source := New(), NodeCIDRs{netip.MustParsePrefix("10.244.0.0/20")}
			for i := range leases {
				lease, _ := table.Choose(Request{Key: key(i)}, source, start)
				if err := table.Grant(lease); err != nil {
					b.Fatal(err)
				}
			}
			now := start
			for b.Loop() {
				now = now.Add(CoolDown)
				lease, err := table.Choose(Request{Key: key(-1)}, source, now)
				if err != nil {
					b.Fatal(err)
				}
				_ = table.Grant(lease)
				table.Release(key(-1), now)
			}
		})
	}
}
