package ipam

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAsked(t *testing.T) {
	dual := NodeCIDRs{netip.MustParsePrefix("10.244.3.0/24"), netip.MustParsePrefix("fd00:10:244:3::/64")}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	table := New()
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	key := func(id string) Request { return Request{Key: Key{ContainerID: id, Interface: "eth0"}} }
	for _, c := range []struct {
		id, want string
		source   Source
		asked    []netip.Addr
		err      error
	}{
		{"a", "10.244.3.7 fd00:10:244:3::2", dual, addrs("10.244.3.7"), nil},
		{"a", "10.244.3.7 fd00:10:244:3::2", dual, addrs("10.244.3.9"), nil}, // It has one.
		{"b", "10.244.3.2 fd00:10:244:3::9", dual, addrs("fd00:10:244:3::9"), nil},
		{"c", "10.244.3.8 fd00:10:244:3::8", dual, addrs("fd00:10:244:3::8", "10.244.3.8"), nil},
		{"d", "", dual, addrs("10.244.3.7"), ErrHeld},
		{"d", "", dual, addrs("10.244.4.7"), ErrElsewhere},
		{"d", "", dual, addrs("10.244.3.1"), ErrElsewhere}, // The mesh address.
		{"d", "", dual, addrs("10.244.3.255"), ErrElsewhere},
		{"d", "", dual[:1], addrs("fd00:10:244:3::10"), ErrElsewhere},
		{"d", "10.244.3.3 fd00:10:244:3::3", dual, nil, nil},
	} {
		lease, err := table.Choose(key(c.id), Asked{c.source, c.asked}, now)
		if !errors.Is(err, c.err) {
			t.Fatalf("%s asks for %s: error %v, want %v", c.id, c.asked, err, c.err)
		}
		if err != nil {
			continue
		}
		if got := lease.Addresses; !slices.Equal(got, addrsOf(c.want)) {
			t.Errorf("%s asks for %s: has %s, want %s", c.id, c.asked, got, c.want)
		}
		if err := table.Grant(lease); err != nil {
			t.Fatal(err)
		}
	}
	table.Release(key("a").Key, now) // It does not cool down for who asks for it.
	if lease, err := table.Choose(key("e"), Asked{dual, addrs("10.244.3.7")}, now); err != nil || lease.Addresses[0].String() != "10.244.3.7" {
		t.Errorf("an address that was just released: %v, %v", lease.Addresses, err)
	}
}

func addrsOf(text string) (all []netip.Addr) {
	for word := range strings.FieldsSeq(text) {
		all = append(all, netip.MustParseAddr(word))
	}
	return all
}
