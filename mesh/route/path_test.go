package route

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/mesh"
)

// TestPathMTU: what a route says of it, else what the link takes that it leaves by; not what an ICMP error says.
func TestPathMTU(t *testing.T) {
	inNetNS(t)
	for link, mtu := range map[string]string{"eth0": "1500", "eth1": "9000"} {
		lane(t, link)
		ip(t, "link set "+link+" up mtu "+mtu)
	}
	for _, line := range []string{
		"address add 192.0.2.1/24 dev eth0", "address add 198.51.100.1/24 dev eth1",
		"address add 2001:db8:1::1/64 dev eth0 nodad", "address add 2001:db8:2::1/64 dev eth1 nodad",
		"route add default via 192.0.2.254", "route add 192.0.2.9 dev eth0 mtu 1400", "route add 192.0.2.10 dev eth0 mtu lock 1300",
		"route add 203.0.113.0/24 nexthop via 192.0.2.254 nexthop via 198.51.100.254", "route add unreachable 192.0.2.66", "route add 192.0.2.11 dev eth0 mtu 9000",
		"-6 route add 2001:db8:1::9 dev eth0 mtu 1400", "-6 route add 2001:db8:3::/64 via 2001:db8:2::254",
	} {
		ip(t, line)
	}
	messages := 0
	r := newRouter(t, &messages)
	check := func(when string, want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for to := range want {
			got[to] = r.PathMTU(netip.MustParseAddr(to))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	before := map[string]int{
		"192.0.2.2": 1500, "192.0.2.9": 1400, "192.0.2.10": 1300, "192.0.2.11": 1500, "198.51.100.2": 9000, "8.8.8.8": 1500, "203.0.113.7": 1500,
		"192.0.2.1": 0, "127.0.0.1": 0, "192.0.2.66": 0,
		"2001:db8:1::2": 1500, "2001:db8:1::9": 1400, "2001:db8:2::2": 9000, "2001:db8:3::3": 9000, "2001:db8:1::1": 0, "2001:db8:9::1": 0,
	}
	check("at first", before)

	ip(t, "link set eth0 mtu 1420")
	ip(t, "route replace 192.0.2.9 dev eth0 mtu 1350")
	check("remembered", before)
	r.ForgetPaths()
	check("after a change", map[string]int{"192.0.2.2": 1420, "192.0.2.9": 1350, "2001:db8:1::9": 1400, "198.51.100.2": 9000, "8.8.8.8": 1420, "2001:db8:1::2": 1420})
	if messages != 0 {
		t.Errorf("%d messages that change something", messages)
	}
}

// TestRouteMTU: it is set, changed in place, repaired and taken away, of both families.
func TestRouteMTU(t *testing.T) {
	inNetNS(t)
	lane(t, "warren0")
	messages := 0
	r := newRouter(t, &messages)
	if err := r.SetAddresses("warren0", []netip.Prefix{pfx("10.244.1.1/32"), pfx("fd00::1/128")}, 1440); err != nil {
		t.Fatal(err)
	}
	routes := func(mtu int) []*mesh.Route {
		routes := []*mesh.Route{via("10.244.2.0/24", "warren0", "10.244.1.1"), via("fd00:2::/64", "warren0", "fd00::1")}
		for i := range routes {
			routes[i].MTU = mtu
		}
		return routes
	}
	for _, mtu := range []int{0, 1340, 1300, 0, 1400} {
		messages = 0
		if err := r.Set(routes(mtu)); err != nil {
			t.Fatal(err)
		}
		if messages != 2 {
			t.Errorf("MTU %d: %d messages, want one a route", mtu, messages)
		}
		seen := 1440
		if mtu != 0 {
			seen = mtu
		}
		r.ForgetPaths()
		for _, to := range []string{"10.244.2.9", "fd00:2::9"} {
			if got := r.PathMTU(netip.MustParseAddr(to)); got != seen {
				t.Errorf("MTU %d: the path to %s takes %d", mtu, to, got)
			}
		}
	}
	ip(t, "route replace 10.244.2.0/24 dev warren0 proto 87 scope link src 10.244.1.1 mtu 1000")
	r.Forget()
	r.ForgetPaths()
	messages = 0
	if err := r.Set(routes(1400)); err != nil {
		t.Fatal(err)
	}
	if got := r.PathMTU(netip.MustParseAddr("10.244.2.9")); got != 1400 || messages != 1 {
		t.Errorf("after a change by hand: the path takes %d after %d messages, want 1400 after 1", got, messages)
	}
}
