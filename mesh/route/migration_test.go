package route

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// migrating are routes of a node that is migrated.
func migrating(routes ...*mesh.Route) []*mesh.Route {
	for _, r := range routes {
		r.Place(true)
	}
	return append(routes, unreachable("10.244.0.0/16"), unreachable("fd00:10:244::/48"))
}

// TestMigrationTable: while a node is migrated our routes win over another network's to the same prefixes, which are left alone; then they
// are where they always are, and nothing is left of the rest.
func TestMigrationTable(t *testing.T) {
	inNetNS(t)
	lane(t, "warren0")
	lane(t, "flannel.1")
	ip(t, "link set warren0 up")
	ip(t, "link set flannel.1 up")
	ip(t, "addr add 10.244.0.0/32 dev flannel.1")
	others := []string{"route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink", "route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink", "-6 route add fd00:10:244:1::/64 dev flannel.1"}
	for _, other := range others {
		ip(t, other)
	}
	rules := func() string { return ip(t, "rule show") + ip(t, "-6 rule show") }
	before := rules()
	var messages int
	r := newRouter(t, &messages)
	if err := r.SetAddresses("warren0", meshAddresses, 1400); err != nil {
		t.Fatal(err)
	}
	leaves := func(to, by string) {
		t.Helper()
		if got := ip(t, "route get "+to); !strings.Contains(got, "dev "+by) {
			t.Errorf("to %s: %s; want it to leave by %s", to, got, by)
		}
	}
	six := via("fd00:10:244:1::/64", "warren0", "fd00:10:244::1")
	set := func(routes ...*mesh.Route) {
		t.Helper()
		if err := r.Set(routes); err != nil {
			t.Fatal(err)
		}
		count := messages
		r.Forget()
		if err := r.Set(routes); err != nil || messages != count {
			t.Errorf("the same once more: %d messages, %v", messages-count, err)
		}
	}
	set(migrating()...)
	if got := rules(); got != before {
		t.Errorf("rules without a route that needs them:\n%s", got)
	}
	set(migrating(via("10.244.1.0/24", "warren0", "10.244.0.1"), six)...)
	leaves("10.244.1.5", "warren0")
	leaves("10.244.2.5", "flannel.1")
	leaves("fd00:10:244:1::5", "warren0")
	if got := ip(t, "route show dev flannel.1") + ip(t, "-6 route show dev flannel.1"); strings.Count(got, "/24") != 2 || !strings.Contains(got, "fd00:10:244:1::/64") {
		t.Errorf("the other network's routes are %s", got)
	}
	for range 2 {
		if got := rules(); strings.Count(got, "lookup 87 proto 87") != 1 {
			t.Errorf("rules:\n%s", got)
		}
		ip(t, "rule del pref 8787") // Somebody else's doing, which the next look puts right.
		r.Forget()
		if err := r.Set(migrating(via("10.244.1.0/24", "warren0", "10.244.0.1"), via("fd00:10:244:1::/64", "warren0", "fd00:10:244::1"))); err != nil {
			t.Fatal(err)
		}
	}
	// The switch is off too early: what is there already stays.
	if err := r.Set(plan()); !errors.Is(err, unix.EEXIST) {
		t.Errorf("beside the other network's routes: %v, want %v", err, unix.EEXIST)
	}
	leaves("10.244.1.5", "warren0")
	ip(t, "link del flannel.1")
	set(plan()...)
	leaves("10.244.2.5", "warren0")
	leaves("fd00:10:244:1::5", "warren0")
	if diff := cmp.Diff(before, rules()); diff != "" {
		t.Errorf("rules (-before +after):\n%s", diff)
	}
	if got := ip(t, "route show table 87") + ip(t, "-6 route show proto 87 metric 87"); got != "" {
		t.Errorf("left: %s", got)
	}
	set(migrating(via("10.244.1.0/24", "warren0", "10.244.0.1"))...)
	if _, err := Remove(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, rules()); diff != "" {
		t.Errorf("rules (-before +after Remove):\n%s", diff)
	}
}

// TestProxies: the node answers on a bridge for the pods that are not on it, for no others, and for none after Remove.
func TestProxies(t *testing.T) {
	inNetNS(t)
	ip(t, "link add cni0 type bridge")
	ip(t, "link add other type bridge")
	lane(t, "wrp0")
	ip(t, "link set wrp0 up")
	ip(t, "neigh add proxy 10.244.9.9 dev cni0") // of somebody else
	var messages int
	r := newRouter(t, &messages)
	within := []netip.Prefix{pfx("10.244.0.0/24"), pfx("fd00:10:244::/64")}
	var addrs []netip.Addr
	for _, a := range []string{"10.244.0.5", "fd00:10:244::5", "10.244.0.6"} {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	set := func(addrs ...netip.Addr) {
		t.Helper()
		if err := r.SetProxies([]string{"cni0", "veth*"}, within, addrs); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() string {
		t.Helper()
		return strings.Join(strings.Fields(ip(t, "neigh show proxy")), " ")
	}
	set(addrs...)
	want := "10.244.0.5 dev cni0 proxy 10.244.0.6 dev cni0 proxy 10.244.9.9 dev cni0 proxy fd00:10:244::5 dev cni0 proxy"
	sorted := func(s string) map[string]int {
		lines := map[string]int{}
		for _, l := range strings.SplitAfter(s, " proxy") {
			lines[strings.TrimSpace(l)]++
		}
		return lines
	}
	if diff := cmp.Diff(sorted(want), sorted(shown())); diff != "" {
		t.Errorf("proxies (-want +got):\n%s", diff)
	}
	delays := func(want string) {
		t.Helper()
		for _, file := range proxyDelays {
			if got, err := readSysctl(fmt.Sprintf(file, "cni0")); err != nil || got != want {
				t.Errorf("%s: %s (%v), want %s", file, got, err, want)
			}
		}
	}
	delays("0")
	count := messages
	set(addrs...)
	if messages != count {
		t.Errorf("%d messages for what was there", messages-count)
	}
	set(addrs[:2]...)
	if got := shown(); strings.Contains(got, "10.244.0.6") || !strings.Contains(got, "10.244.9.9") {
		t.Errorf("after one went: %s", got)
	}
	ip(t, "route add 10.244.0.5/32 dev wrp0 proto 87")
	ip(t, "-6 route add fd00:10:244::5/128 dev wrp0 proto 87")
	if _, err := Remove(); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "10.244.9.9 dev cni0 proxy" {
		t.Errorf("after Remove: %s", got)
	}
	delays("80")
	if got, err := readSysctl(conf6 + "/cni0/proxy_ndp"); err != nil || got != "0" {
		t.Errorf("proxy_ndp is %s (%v)", got, err)
	}
}

// TestLoosen leaves alone what is not strict.
func TestLoosen(t *testing.T) {
	inNetNS(t)
	lane(t, "warren0")
	var messages int
	r := newRouter(t, &messages)
	write := func(link, value string) {
		t.Helper()
		if err := setSysctl(conf4+"/"+link+"/rp_filter", value); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ all, link, want string }{{"0", "0", "0"}, {"2", "0", "0"}, {"2", "1", "1"}, {"1", "0", "2"}, {"0", "1", "2"}, {"1", "2", "2"}} {
		write("all", c.all)
		write("warren0", c.link)
		if err := r.Loosen("warren0", "gone0"); err != nil {
			t.Fatal(err)
		}
		if got, err := readSysctl(conf4 + "/warren0/rp_filter"); err != nil || got != c.want {
			t.Errorf("all %s, link %s: %s (%v), want %s", c.all, c.link, got, err, c.want)
		}
	}
}
