package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestBlocksInUseAreUsedUpFirst(t *testing.T) {
	offer := Offer{Blocks: []Part{{netip.MustParsePrefix("10.64.0.0/30"), "main"}, {netip.MustParsePrefix("10.64.0.8/29"), "main"}}, Pools: []string{"main"}}
	table := New()
	give := func(k int, want string) {
		t.Helper()
		lease, err := table.Choose(Request{Key: key(k)}, Everything{offer}, start)
		if err != nil || lease.Addresses[0].String() != want {
			t.Fatalf("container %d has %v, %v; want %s", k, lease.Addresses, err, want)
		}
		if err := table.Grant(lease); err != nil {
			t.Fatal(err)
		}
	}
	give(0, "10.64.0.2")
	give(1, "10.64.0.10")
	table.Release(key(0), start.Add(-CoolDown))
	give(2, "10.64.0.11") // the first block is empty, and may be returned
	offer.Reserved = prefixes("10.64.0.12/31")
	give(3, "10.64.0.14")
	table.Release(key(3), start)
	give(4, "10.64.0.2")
	_, err := table.Choose(Request{Key: key(5)}, Everything{offer}, start)
	const want = "no address is free in pool main, block 10.64.0.0/30: 1 of 1 leased; " +
		"pool main, block 10.64.0.8/29: 2 of 5 leased, 1 released less than 30s ago, 2 reserved"
	if errorText(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
	offer.Reserved = nil
	give(6, "10.64.0.12") // not lost by having been passed over
}

func TestFixedAddresses(t *testing.T) {
	fixed := netip.MustParseAddr("10.64.0.5")
	offer := Offer{
		Blocks: []Part{{netip.MustParsePrefix("10.64.0.0/28"), "main"}}, Pools: []string{"main"}, Fixed: fixed, Reserved: prefixes("10.64.0.5/32"),
	}
	table := New()
	lease, err := table.Choose(Request{Key: key(1), Pod: Pod{Namespace: "shop", Name: "db-0"}}, Everything{offer}, start)
	if err != nil || !slices.Equal(lease.Addresses, []netip.Addr{fixed}) {
		t.Fatalf("%v, %v", lease.Addresses, err)
	}
	if err := table.Grant(lease); err != nil {
		t.Fatal(err)
	}
	_, err = table.Choose(Request{Key: key(2)}, Everything{offer}, start)
	const held = "no address for this pod: it asks for 10.64.0.5: the address is leased already, to pod shop/db-0 (container c1)"
	if !errors.Is(err, ErrHeld) || errorText(err) != held {
		t.Errorf("a second pod: %v, want %s", err, held)
	}
	table.Release(key(1), start)
	if lease, err := table.Choose(Request{Key: key(2)}, Everything{offer}, start); err != nil || lease.Addresses[0] != fixed {
		t.Errorf("after its release: %v, %v", lease.Addresses, err)
	}
	offer.Fixed = netip.MustParseAddr("10.64.0.21")
	_, err = table.Choose(Request{Key: key(3)}, Everything{offer}, start)
	const outside = "10.64.0.21, which the pod asks for (warren.dev/ip), is in no block of this node"
	var full *FullError
	if !errors.As(err, &full) || full.Error() != outside {
		t.Errorf("in no block: %v, want %s", err, outside)
	}
}

func TestForgetting(t *testing.T) {
	blocks := prefixes("10.64.0.0/28", "10.64.0.16/28")
	table := New()
	for i, a := range []string{"10.64.0.2", "10.64.0.18", "10.64.0.19"} {
		if err := table.Grant(Lease{Request: Request{Key: key(i)}, Addresses: []netip.Addr{netip.MustParseAddr(a)}}); err != nil {
			t.Fatal(err)
		}
	}
	table.Release(key(0), start)
	table.Release(key(1), start)
	table.Forget(blocks[:1], start)
	if got := len(table.Freed()); got != 2 {
		t.Errorf("%d addresses are remembered while they cool down, want 2", got)
	}
	table.Forget(blocks[:1], start.Add(CoolDown))
	if got := table.Freed(); len(got) != 1 || got[0].Address.String() != "10.64.0.2" {
		t.Errorf("remembered: %v", got)
	}
	if _, ok := table.Lease(key(2)); !ok {
		t.Error("a lease was forgotten")
	}
}

// TestChoiceIsSound: whatever blocks and reservations there are, nobody gets what is leased, cooling or reserved, and nobody goes
// without while something else is free.
func TestChoiceIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := prefixes("10.64.0.0/29", "10.64.0.16/28", "10.64.0.8/30")
		table, now := New(), start
		var reserved []netip.Prefix
		offer := func() Offer {
			o := Offer{Reserved: reserved, Pools: []string{"main"}}
			for _, b := range blocks {
				o.Blocks = append(o.Blocks, Part{b, "main"})
			}
			return o
		}
		free := func(a netip.Addr) bool {
			_, held := table.holders[a]
			at, freed := table.freedAt[a]
			return !held && !covered(a, reserved) && (!freed || !cooling(at, now))
		}
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second) },
			"reserve": func(t *rapid.T) {
				reserved = nil
				for range rapid.IntRange(0, 3).Draw(t, "reservations") {
					raw := [4]byte{10, 64, 0, byte(rapid.IntRange(0, 31).Draw(t, "address"))}
					p, _ := netip.AddrFrom4(raw).Prefix(rapid.IntRange(27, 32).Draw(t, "bits"))
					reserved = append(reserved, p)
				}
			},
			"add": func(t *rapid.T) {
				k := key(rapid.IntRange(0, 30).Draw(t, "container"))
				if _, ok := table.Lease(k); ok {
					return
				}
				some := false
				for _, b := range blocks {
					for i := range usable(b) {
						some = some || free(address(b, i))
					}
				}
				lease, err := table.Choose(Request{Key: k}, Everything{offer()}, now)
				switch {
				case (err == nil) != some:
					t.Fatalf("something is free: %v; got %v, %v", some, lease.Addresses, err)
				case err == nil && !free(lease.Addresses[0]):
					t.Fatalf("%s is not free", lease.Addresses[0])
				case err == nil:
					_ = table.Grant(lease)
				}
			},
			"release": func(t *rapid.T) { table.Release(key(rapid.IntRange(0, 30).Draw(t, "container")), now) },
			"forget":  func(*rapid.T) { table.Forget(blocks, now) },
			"": func(t *rapid.T) {
				uses, _ := table.Uses(Everything{offer()}, now)
				for _, u := range uses {
					count := 0
					for i := range usable(u.Prefix) {
						if free(address(u.Prefix, i)) {
							count++
						}
					}
					if u.Free() != count {
						t.Fatal(fmt.Sprintf("%s: %d are free, and it says %d", u, count, u.Free()))
					}
				}
			},
		})
	})
}
