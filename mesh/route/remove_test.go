package route

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemove(t *testing.T) {
	inNetNS(t)
	events := watch(t)
	lane(t, "eth0")
	ip(t, "link set eth0 up alias warren.development")
	for strings.Count(ip(t, "-o link show"), "state UP") != 2 {
		await(t, events, Event{Link, "pth0"})
	}
	ip(t, "addr add 192.0.2.1/24 dev eth0")
	ip(t, "route add default via 192.0.2.254")
	state := func() []string {
		return []string{ip(t, "-o link show"), ip(t, "-o addr show"), ip(t, "-4 route show table all"), ip(t, "-6 route show table all")}
	}
	before := state()

	lane(t, "warren0")
	ip(t, "link set warren0 alias warren.dev/lane")
	lane(t, "wrp0123456789ab")
	ip(t, "link set wrp0123456789ab up alias warren.dev/pod")
	ip(t, "route add 10.244.0.5/32 dev wrp0123456789ab proto 87")
	ip(t, "route add 10.9.0.0/16 via 192.0.2.9 proto 87")
	ip(t, "route add 10.9.0.0/16 via 192.0.2.9 proto 87 table 9")
	r, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.SetAddresses("warren0", meshAddresses, 1400); err != nil {
		t.Fatal(err)
	}
	if err := r.Set(append(plan(), via("10.8.0.0/16", "eth0", "192.0.2.1"))); err != nil {
		t.Fatal(err)
	}
	// Set has taken away the strange route of the main table.
	ip(t, "route add 10.9.0.0/16 via 192.0.2.9 proto 87")

	removed, err := Remove()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"link warren0 (warren.dev/lane)",
		"link wrp0123456789ab (warren.dev/pod)",
		"route 10.9.0.0/16 dev eth0",
		"route 10.8.0.0/16 dev eth0 src 192.0.2.1",
		"route 10.9.0.0/16 dev eth0 table 9",
		"route unreachable 10.244.0.0/16 metric 4294967295",
		"route unreachable fd00:10:244::/48 metric 4294967295",
	}
	sorted := cmp.Transformer("set", func(lines []string) map[string]int {
		counts := map[string]int{}
		for _, l := range lines {
			counts[l]++
		}
		return counts
	})
	if diff := cmp.Diff(want, removed, sorted); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("the node is not as before (-want +got):\n%s", diff)
	}
	if removed, err := Remove(); err != nil || len(removed) != 0 {
		t.Errorf("again: removed %q, error %v", removed, err)
	}
}
