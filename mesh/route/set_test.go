package route

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

const (
	plan4 = `unreachable 10.244.0.0/16 metric 4294967295
10.244.1.0/24 dev warren0 scope link src 10.244.0.1
10.244.2.0/24 dev warren0 scope link src 10.244.0.1
`
	plan6 = `fd00:10:244:1::/64 dev warren0 src fd00:10:244::1 metric 1024 pref medium
unreachable fd00:10:244::/48 dev lo metric 4294967295 pref medium
`
)

// prepared is a namespace with a lane, and a Router in it that has set the lane's addresses.
func prepared(tb testing.TB, messages *int) *Router {
	tb.Helper()
	inNetNS(tb)
	lane(tb, "warren0")
	r := newRouter(tb, messages)
	if err := r.SetAddresses("warren0", meshAddresses, 1400); err != nil {
		tb.Fatal(err)
	}
	*messages = 0
	return r
}

func ours(tb testing.TB, family string) string {
	tb.Helper()
	return ip(tb, family+" route show proto 87")
}

func check(tb testing.TB, what, got, want string) {
	tb.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestSetGolden(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), plan4)
	check(t, "IPv6 routes", ours(t, "-6"), plan6)
	if messages != 5 {
		t.Errorf("%d messages for 5 routes", messages)
	}
	if got := ip(t, "-4 route get 10.244.1.9"); !strings.Contains(got, "dev warren0 src 10.244.0.1") {
		t.Errorf("route to a remote pod: %s", got)
	}
	if err := r.Set(nil); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes after emptying", ours(t, "-4"), "")
	check(t, "IPv6 routes after emptying", ours(t, "-6"), "")
}

func TestSetSendsOnlyTheDifference(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	lane(t, "warren1")
	ip(t, "addr add 10.244.0.9/32 dev warren0")
	ip(t, "link set warren1 up")
	changed := plan()
	changed[1].Source = netip.MustParseAddr("10.244.0.9")
	moved := plan()
	moved[1].Source, moved[2].Device = changed[1].Source, "warren1"
	for _, step := range []struct {
		name   string
		before func()
		routes []*mesh.Route
		want   int
	}{
		{"first", nil, plan(), 5},
		{"the same", nil, plan(), 0},
		{"the same, read from the kernel", r.Forget, plan(), 0},
		{"source changed", nil, changed, 1},
		{"device changed", nil, moved, 1},
		{"the same, read again", r.Forget, moved, 0},
		{"one less", nil, moved[1:], 1},
		{"one more", nil, moved, 1},
		{"removed behind our back", func() { ip(t, "route del 10.244.1.0/24"); r.Forget() }, moved, 1},
		{"changed behind our back", func() { ip(t, "route change 10.244.1.0/24 dev warren1 proto 87"); r.Forget() }, moved, 1},
		{"strange one of ours", func() {
			ip(t, "route add 10.9.0.0/16 proto 87 nexthop dev warren0 nexthop dev warren1")
			r.Forget()
		}, moved, 1},
		{"as planned at last", r.Forget, moved, 0},
	} {
		if step.before != nil {
			step.before()
		}
		messages = 0
		if err := r.Set(step.routes); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if messages != step.want {
			t.Errorf("%s: %d messages, want %d", step.name, messages, step.want)
		}
	}
	check(t, "IPv4 routes", ours(t, "-4"), strings.Replace(plan4, "10.244.2.0/24 dev warren0 scope link src 10.244.0.1",
		"10.244.2.0/24 dev warren0 scope link src 10.244.0.9", 1))
	check(t, "IPv6 routes", ours(t, "-6"), strings.Replace(plan6, "dev warren0", "dev warren1", 1))
}

func TestSetLeavesOthersRoutes(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	lane(t, "wrp0123456789ab")
	ip(t, "link set wrp0123456789ab up")
	for _, args := range []string{
		"route add 192.0.2.0/24 dev warren0",
		"route add 10.244.1.0/24 dev warren0 proto static metric 5",
		"route add 10.244.0.5/32 dev wrp0123456789ab scope link proto 87",
		"route add 10.7.0.0/16 dev warren0 proto 87 table 7",
		"-6 route add fd00:10:244::5/128 dev wrp0123456789ab proto 87",
		"-6 route add fd00:10:244:1::/64 dev warren0 proto static metric 5",
	} {
		ip(t, args)
	}
	carrier(t, "prp0123456789ab")
	before4, before6 := ip(t, "-4 route show table all"), ip(t, "-6 route show table all")
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	if err := r.Set(nil); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes", ip(t, "-4 route show table all"), before4)
	check(t, "IPv6 routes", ip(t, "-6 route show table all"), before6)

	ip(t, "route add 10.244.2.0/24 dev warren0 proto static")
	ip(t, "-6 route add fd00:10:244:1::/64 dev warren0 proto static")
	for range 2 {
		if err := r.Set(plan()); !errors.Is(err, unix.EEXIST) {
			t.Errorf("a foreign route in the way: %v, want EEXIST", err)
		}
	}
	check(t, "foreign IPv4 route", ip(t, "route show 10.244.2.0/24"), "10.244.2.0/24 dev warren0 proto static scope link\n")
	check(t, "foreign IPv6 route", ip(t, "-6 route show fd00:10:244:1::/64 metric 1024"),
		"fd00:10:244:1::/64 dev warren0 proto static pref medium\n")
	ip(t, "route del 10.244.2.0/24 proto static")
	ip(t, "-6 route del fd00:10:244:1::/64 proto static metric 1024")
	if err := r.Set(plan()); err != nil {
		t.Errorf("the foreign routes out of the way: %v", err)
	}
}

func TestSetFailureInTheMiddle(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	if err := r.Set([]*mesh.Route{via("10.244.9.0/24", "warren0", "10.244.0.1")}); err != nil {
		t.Fatal(err)
	}
	routes := plan()
	routes[0].Source = netip.MustParseAddr("10.244.0.77") // nobody's: the kernel refuses it
	err := r.Set(routes)
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "adding route 10.244.1.0/24 dev warren0 src 10.244.0.77") {
		t.Errorf("error %v", err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), strings.Replace(plan4, "10.244.1.0/24 dev warren0 scope link src 10.244.0.1\n", "", 1))
	check(t, "IPv6 routes", ours(t, "-6"), plan6)
	messages = 0
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	if messages != 1 {
		t.Errorf("%d messages for the one that failed", messages)
	}
	check(t, "IPv4 routes", ours(t, "-4"), plan4)
}

func TestSetWithoutDevice(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	ip(t, "link del warren0")
	err := r.Set(plan())
	if !errors.As(err, &netlink.LinkNotFoundError{}) || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("error %v, want one that the link is not found", err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), "unreachable 10.244.0.0/16 metric 4294967295\n")
	lane(t, "warren0")
	if err := r.SetAddresses("warren0", meshAddresses, 1400); err != nil {
		t.Fatal(err)
	}
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), plan4)
	check(t, "IPv6 routes", ours(t, "-6"), plan6)
}

func TestAddRemovesNothing(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	if err := r.Set(plan()[:2]); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(plan()[2:]); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), plan4)
	check(t, "IPv6 routes", ours(t, "-6"), plan6)
	messages = 0
	if err := r.Set(plan()); err != nil || messages != 0 {
		t.Errorf("%d messages, error %v", messages, err)
	}
}

func TestSetInterruptedDump(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	if err := r.Set(append(plan()[1:], via("10.244.9.0/24", "warren0", "10.244.0.1"))); err != nil {
		t.Fatal(err)
	}
	whole := r.list
	r.list = func() ([]entry, error) { // the first of the kernel's routes is seen, and no other
		entries, err := whole()
		return entries[:1], errors.Join(err, netlink.ErrDumpInterrupted)
	}
	r.Forget()
	err := r.Set(plan())
	if !errors.Is(err, netlink.ErrDumpInterrupted) || errors.Is(err, unix.EEXIST) {
		t.Errorf("error %v, want only that the dump was interrupted", err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), plan4+"10.244.9.0/24 dev warren0 scope link src 10.244.0.1\n")
	r.list = whole
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), plan4)
}

// many are n/2 IPv4 and n/2 IPv6 routes.
func many(n int) []*mesh.Route {
	routes := make([]*mesh.Route, 0, n)
	for i := range n / 2 {
		routes = append(routes, via(fmt.Sprintf("10.%d.%d.0/24", 128+i/256, i%256), "warren0", "10.244.0.1"),
			via(fmt.Sprintf("fd00:20:%x::/64", i), "warren0", "fd00:10:244::1"))
	}
	return routes
}

func TestSetMany(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	routes := many(5000)
	for _, step := range []struct {
		name   string
		routes []*mesh.Route
		want   int
	}{
		{"5,000 routes", routes, 5000},
		{"nothing changed", routes, 0},
		{"one less", routes[1:], 1},
		{"audit", routes[1:], 0},
		{"none", nil, 4999},
	} {
		if step.name == "audit" {
			r.Forget()
		}
		messages = 0
		start := time.Now()
		if err := r.Set(step.routes); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", step.name, time.Since(start).Round(100*time.Microsecond))
		if messages != step.want {
			t.Errorf("%s: %d messages, want %d", step.name, messages, step.want)
		}
	}
}

func BenchmarkSet5000(b *testing.B) {
	var messages int
	r := prepared(b, &messages)
	routes := many(5000)
	for b.Loop() {
		if err := errors.Join(r.Set(routes), r.Set(nil)); err != nil {
			b.Fatal(err)
		}
	}
}
