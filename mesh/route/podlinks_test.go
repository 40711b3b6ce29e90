package route

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestPodLinks: a link that leads elsewhere than to pods is none of theirs, whenever it comes; and each pod is found by its link.
func TestPodLinks(t *testing.T) {
	inNetNS(t)
	var sent int
	r := newRouter(t, &sent)
	cluster := []netip.Prefix{pfx("10.244.0.0/16"), pfx("fd00:10:244::/48")}
	names := []string{"cni0", "veth*"}
	sound := func(when string, want []string, says string) {
		t.Helper()
		got, err := r.PodLinks(names, cluster)
		if !slices.Equal(got, want) || (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %q, %v; want %q and %q", when, got, err, want, says)
		}
	}
	sound("none there", names, "")
	ip(t, "link add cni0 type bridge")
	ip(t, "address add 10.244.1.1/24 dev cni0")
	ip(t, "address add fd00:10:244:1::1/64 dev cni0 nodad")
	ip(t, "link set cni0 up")
	ip(t, "link add vetha type veth peer name pa")
	ip(t, "link set vetha up")
	ip(t, "link set pa up")
	ip(t, "address add 169.254.1.1/32 dev vetha")
	ip(t, "route add 10.244.1.7/32 dev vetha")
	sound("a bridge and a routed link", names, "")
	ip(t, "link add out0 type veth peer name out1")
	ip(t, "address add 192.0.2.1/24 dev out0")
	ip(t, "link set out0 up")
	ip(t, "link set out1 up")
	sound("another link", names, "")
	for addr, want := range map[string]string{"10.244.1.5": "cni0", "fd00:10:244:1::5": "cni0", "10.244.1.7": "vetha", "192.0.2.9": "out0"} {
		if got, err := r.LinkTo(netip.MustParseAddr(addr)); err != nil || got != want {
			t.Errorf("%s leads to %q, %v; want %s", addr, got, err, want)
		}
	}
	for _, addr := range []string{"10.244.1.1", "198.51.100.1"} {
		if got, err := r.LinkTo(netip.MustParseAddr(addr)); err == nil {
			t.Errorf("%s leads to %q, want an error", addr, got)
		}
	}
	ip(t, "address add 2001:db8::1/64 dev vetha nodad")
	sound("a routed link into the world", []string{"cni0"}, "link vetha is among")
	ip(t, "address add 198.51.100.1/24 dev cni0")
	sound("both", nil, "link cni0 is among")
	ip(t, "address delete 198.51.100.1/24 dev cni0")
	ip(t, "address delete 2001:db8::1/64 dev vetha")
	sound("none any more", names, "")
	if sent != 0 {
		t.Errorf("%d changes were sent", sent)
	}
}
