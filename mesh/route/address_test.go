package route

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// addresses are a link's as ip shows them, less the lifetimes.
func addresses(t *testing.T, link string) string {
	t.Helper()
	var lines []string
	for _, line := range strings.Split(ip(t, "addr show dev "+link), "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "inet") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestSetAddresses(t *testing.T) {
	inNetNS(t)
	lane(t, "warren0")
	for _, args := range []string{
		"addr add 169.254.7.7/16 dev warren0 scope link", "addr add fe80::7/64 dev warren0 nodad",
		"addr add 10.1.0.1/24 dev warren0", "addr add 10.1.0.2/24 dev warren0", "addr add fd00:9::1/64 dev warren0",
		"addr add 10.244.0.1 peer 10.244.0.3/32 dev warren0",
	} {
		ip(t, args)
	}
	var messages int
	r := newRouter(t, &messages)
	// 10.1.0.2 is the secondary of 10.1.0.1, and goes with it.
	want := append([]netip.Prefix{pfx("10.1.0.2/24")}, meshAddresses...)
	if err := r.SetAddresses("warren0", want, 1400); err != nil {
		t.Fatal(err)
	}
	check(t, "addresses", addresses(t, "warren0"), `inet 169.254.7.7/16 scope link warren0
inet 10.244.0.1/32 scope global warren0
inet 10.1.0.2/24 brd 10.1.0.255 scope global warren0
inet6 fd00:10:244::1/128 scope global nodad noprefixroute
inet6 fe80::7/64 scope link nodad
`)
	if got := ip(t, "link show warren0"); !regexp.MustCompile(`<.*\bUP\b.*> mtu 1400 `).MatchString(got) {
		t.Errorf("not up with MTU 1400: %s", got)
	}
	messages = 0
	if err := r.SetAddresses("warren0", want, 1400); err != nil || messages != 0 {
		t.Errorf("the same again: %d messages, error %v", messages, err)
	}
	if err := r.SetAddresses("warren0", want, 1380); err != nil || messages != 1 {
		t.Errorf("another MTU: %d messages, error %v", messages, err)
	}
	if err := r.SetAddresses("warren1", want, 1400); !errors.As(err, &netlink.LinkNotFoundError{}) {
		t.Errorf("no link: %v", err)
	}
}

func TestSetAddressesRestoresRoutes(t *testing.T) {
	var messages int
	r := prepared(t, &messages)
	if err := r.Set(plan()); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []string{"link set warren0 down", "link set warren0 down"} {
		ip(t, lost)
		if err := errors.Join(r.SetAddresses("warren0", meshAddresses, 1400), r.Set(plan())); err != nil {
			t.Fatal(err)
		}
		check(t, "IPv4 routes", ours(t, "-4"), plan4)
		check(t, "IPv6 routes", ours(t, "-6"), plan6)
	}
	// With the source go its routes, of which the kernel tells nobody.
	if err := r.SetAddresses("warren0", nil, 1400); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes without source", ours(t, "-4"), "unreachable 10.244.0.0/16 metric 4294967295\n")
	if err := errors.Join(r.SetAddresses("warren0", meshAddresses, 1400), r.Set(plan())); err != nil {
		t.Fatal(err)
	}
	check(t, "IPv4 routes", ours(t, "-4"), plan4)
	check(t, "IPv6 routes", ours(t, "-6"), plan6)
}

func TestUnderlay(t *testing.T) {
	inNetNS(t)
	for _, name := range []string{"eth0", "xth1"} {
		lane(t, name)
		ip(t, "link set "+name+" up")
	}
	ip(t, "link set xth1 mtu 1450")
	ip(t, "addr add 192.0.2.1/24 dev eth0")
	ip(t, "addr add 2001:db8::1/64 dev xth1 nodad")
	var messages int
	r := newRouter(t, &messages)
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		addrs []netip.Addr
		mtu   int
		err   error
	}{
		{[]netip.Addr{addr("192.0.2.1")}, 1500, nil},
		{[]netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}, 1450, nil},
		{[]netip.Addr{addr("192.0.2.1"), addr("198.51.100.1")}, 1500, nil},
		{[]netip.Addr{addr("198.51.100.1")}, 0, ErrNoLink},
		{nil, 0, ErrNoLink},
	} {
		if mtu, err := r.Underlay(tt.addrs); mtu != tt.mtu || !errors.Is(err, tt.err) {
			t.Errorf("Underlay(%v) = %d, %v, want %d, %v", tt.addrs, mtu, err, tt.mtu, tt.err)
		}
	}
	local, err := r.LocalAddresses()
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}
	if diff := cmp.Diff(want, local, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("local addresses (-want +got):\n%s", diff)
	}
}
