package podnet

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestAttachGolden(t *testing.T) {
	node(t)
	p := newPod(t, "web", "10.244.0.5", "10.244.0.6", "fd00:10:244::5")
	r := p.attach(t)
	if !regexp.MustCompile(`^wrp[0-9a-f]{12}$`).MatchString(r.HostLink) {
		t.Errorf("host link %q", r.HostLink)
	}
	golden := strings.NewReplacer("HOSTMAC", r.HostMAC.String(), "PODMAC", r.PodMAC.String(), "LINK", r.HostLink)
	for command, want := range map[string]string{
		"ip -4 route show dev " + r.HostLink: "10.244.0.5 proto 87 scope link\n10.244.0.6 proto 87 scope link\n",
		"ip -6 route show proto 87":          "fd00:10:244::5 dev LINK metric 1024 pref medium\n",
		"ip neigh show dev " + r.HostLink + " nud permanent": "10.244.0.6 lladdr PODMAC PERMANENT\n" +
			"10.244.0.5 lladdr PODMAC PERMANENT\nfd00:10:244::5 lladdr PODMAC PERMANENT\n",
		p.in("ip -4 route show"):                      "default via 169.254.1.1 dev eth0 onlink\n",
		p.in("ip -6 route show default"):              "default via fe80::1 dev eth0 metric 1024 onlink pref medium\n",
		p.in("ip neigh show dev eth0 nud permanent"):  "169.254.1.1 lladdr HOSTMAC PERMANENT\nfe80::1 lladdr HOSTMAC PERMANENT\n",
		p.in("ip -br addr show dev lo"):               "lo               UNKNOWN        127.0.0.1/8 ::1/128\n",
		"cat /proc/sys/net/ipv6/conf/LINK/accept_ra":  "0\n",
		"cat /proc/sys/net/ipv6/conf/LINK/forwarding": "1\n",
		"cat /proc/sys/net/ipv4/conf/LINK/forwarding": "1\n",
	} {
		lines := func(s string) []string { l := strings.Split(s, "\n"); slices.Sort(l); return l }
		if diff := cmp.Diff(lines(golden.Replace(want)), lines(run(t, golden.Replace(command)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", command, diff)
		}
	}
	for command, want := range map[string]string{
		"ip addr show dev " + r.HostLink: `<BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 .* state UP(?s:.*)link/ether ` + r.HostMAC.String() + `.*\n\s+inet6 fe80::1/64 scope link nodad\n.*\n$`,
		"ip link show dev " + r.HostLink: `alias warren.dev/pod default/web\n$`,
		p.in("ip -4 addr show dev eth0"): `<BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 .* state UP(?s:.*)inet 10.244.0.5/32 scope global eth0\n.*\n\s+inet 10.244.0.6/32 scope global eth0\n.*\n$`,
		p.in("ip -6 addr show dev eth0"): `inet6 fd00:10:244::5/128 scope global nodad noprefixroute\n`,
		p.in("ip link show dev eth0"):    `link/ether ` + r.PodMAC.String(),
		"ethtool -k " + r.HostLink:       `tcp-segmentation-offload: on(?s:.*)generic-segmentation-offload: on`,
		p.in("ethtool -k eth0"):          `tx-checksumming: on(?s:.*)tcp-segmentation-offload: on`,
	} {
		if strings.Contains(command, "ethtool") && !hasEthtool() {
			t.Logf("not checked, for want of ethtool: %s", command)
			continue
		}
		if got := run(t, command); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: %s\nwant %s", command, got, want)
		}
	}
}

func hasEthtool() bool { _, err := try("ethtool --version"); return err == nil }

func TestAttachTwice(t *testing.T) {
	node(t)
	p := newPod(t, "web", "10.244.0.5", "fd00:10:244::5")
	first := p.attach(t)
	settle(t, p)
	before := state(t, p)
	if diff := cmp.Diff(first, p.attach(t)); diff != "" {
		t.Errorf("results differ (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(before, state(t, p)); diff != "" {
		t.Errorf("the second Attach changed (-before +after):\n%s", diff)
	}

	p.Addresses = []netip.Addr{netip.MustParseAddr("10.244.0.9")}
	p.attach(t)
	same(t, "routes of a changed Spec", run(t, "ip -4 route show proto 87"), "10.244.0.9 dev "+first.HostLink+" scope link\n")
	same(t, "IPv6 routes of a changed Spec", run(t, "ip -6 route show proto 87"), "")
	same(t, "addresses of a changed Spec", run(t, p.in("ip -br addr show dev eth0 scope global")), "eth0@if4         UP             10.244.0.9/32\n")
	run(t, "ping -c1 -W1 10.244.0.9")

	// The sandbox was made anew under the same name, and the old one's wire is still there.
	again := newPod(t, "web", "10.244.0.9")
	again.attach(t)
	run(t, again.in("ping -c1 -W1 192.0.2.1"))
	if out, err := try(p.in("ip link show eth0")); err == nil {
		t.Errorf("the old sandbox has its wire yet: %s", out)
	}
}

// settle waits until the pod's own link-local address has come.
func settle(t *testing.T, p *pod) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); run(t, p.in("ip -6 addr show dev eth0 scope link -tentative")) == ""; {
		if time.Now().After(deadline) {
			t.Fatal("no link-local address")
		}
	}
}

func TestDetach(t *testing.T) {
	node(t)
	p := newPod(t, "web", "10.244.0.5", "fd00:10:244::5")
	other := newPod(t, "db", "10.244.0.6", "fd00:10:244::6")
	other.attach(t)
	settle(t, other)
	run(t, p.in("ip link set lo up")) // what stays
	before := state(t, p, other)
	for range 2 {
		p.attach(t)
		for range 2 {
			if err := Detach("default", "web", "eth0"); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(before, state(t, p, other)); diff != "" {
			t.Errorf("not as before (-before +after):\n%s", diff)
		}
	}
}

func TestAttachFailsMidway(t *testing.T) {
	node(t)
	holder := newPod(t, "holder", "10.244.0.5", "fd00:10:244::5")
	holder.attach(t)
	settle(t, holder)
	for _, tt := range []struct {
		name   string
		addrs  []string
		before func(p *pod)
		want   error
	}{
		{"IPv4 address of another pod", []string{"10.244.0.7", "10.244.0.5"}, nil, unix.EEXIST},
		{"IPv6 address of another pod", []string{"10.244.0.7", "fd00:10:244::5"}, nil, unix.EEXIST},
		{"interface name taken", []string{"10.244.0.7"}, func(p *pod) {
			run(t, p.in("ip link add eth0 type veth peer name other"))
		}, unix.EEXIST},
	} {
		p := newPod(t, "late", tt.addrs...)
		run(t, p.in("ip link set lo up"))
		if tt.before != nil {
			tt.before(p)
		}
		before := state(t, p, holder)
		_, err := Attach(p.Spec)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
		if diff := cmp.Diff(before, state(t, p, holder)); diff != "" {
			t.Errorf("%s: something is left (-before +after):\n%s", tt.name, diff)
		}
	}
	run(t, "ping -c1 -W1 10.244.0.5")
}

func TestAttachRefuses(t *testing.T) {
	node(t)
	good := newPod(t, "web", "10.244.0.5").Spec
	for name, change := range map[string]func(*Spec){
		"its network namespace, it is the host's own": func(s *Spec) { s.NetNS = fmt.Sprintf("/proc/%d/ns/net", unix.Gettid()) },
		"not a network namespace":                     func(s *Spec) { s.NetNS = "/proc/self/ns/mnt" },
		"opening network namespace":                   func(s *Spec) { s.NetNS = "/proc/self/ns/none" },
		"network namespace: none given":               func(s *Spec) { s.NetNS = "" },
		`interface "../x"`:                            func(s *Spec) { s.Interface = "../x" },
		`pod "default/"`:                              func(s *Spec) { s.Name = "" },
		"addresses: none given":                       func(s *Spec) { s.Addresses = nil },
		"address 127.0.0.1":                           func(s *Spec) { s.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
		"MTU 1279: not between 1280":                  func(s *Spec) { s.MTU, s.Addresses = 1279, []netip.Addr{netip.MustParseAddr("fd00::5")} },
	} {
		s := good
		change(&s)
		want := strings.TrimPrefix(name, "its network namespace, ")
		if _, err := Attach(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	run(t, "ip link add "+HostLink("default", "web", "eth0")+" type bridge")
	if _, err := Attach(good); err == nil || !strings.Contains(err.Error(), "somebody else's") {
		t.Errorf("a foreign link of the name: %v", err)
	}
	if err := Detach("default", "web", "eth0"); err == nil {
		t.Error("a foreign link was removed")
	}
}

func TestAttachConcurrently(t *testing.T) {
	node(t)
	const pods = 20
	own := openOwn(t)
	var wg sync.WaitGroup
	errs := make([]error, pods)
	start := time.Now()
	for i := range pods {
		p := newPod(t, fmt.Sprintf("web-%d", i), fmt.Sprintf("10.244.0.%d", 10+i), fmt.Sprintf("fd00:10:244::%x", 10+i))
		wg.Go(func() {
			errs[i] = own.do(func() error { _, err := Attach(p.Spec); return err })
		})
	}
	wg.Wait()
	t.Logf("%d at once: all in %v", pods, time.Since(start).Round(time.Millisecond))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i := range pods {
		run(t, fmt.Sprintf("ping -c1 -W1 -q 10.244.0.%d", 10+i))
		run(t, fmt.Sprintf("ping -c1 -W1 -q fd00:10:244::%x", 10+i))
	}
	for i := range pods {
		wg.Go(func() {
			errs[i] = own.do(func() error { return Detach("default", fmt.Sprintf("web-%d", i), "eth0") })
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "ip -o link show type veth"); strings.Contains(got, "wrp") {
		t.Errorf("links are left: %s", got)
	}
}

func openOwn(tb testing.TB) *Sandbox {
	tb.Helper()
	own, err := openNamespaceUnchecked()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(own.Close)
	return own
}

func TestAttachTakes(t *testing.T) {
	node(t)
	const rounds = 50
	var took []time.Duration
	for i := range rounds {
		p := newPod(t, "web", fmt.Sprintf("10.244.0.%d", 10+i), fmt.Sprintf("fd00:10:244::%x", 10+i))
		p.Name = fmt.Sprintf("web-%d", i)
		start := time.Now()
		p.attach(t)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("Attach: p50 %.1f ms, p99 %.1f ms", ms(took[rounds/2]), ms(took[rounds-1]))
	if took[rounds/2] > time.Second {
		t.Errorf("Attach waits for something: p50 %v", took[rounds/2])
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func BenchmarkAttach(b *testing.B) {
	node(b)
	p := newPod(b, "web", "10.244.0.5", "fd00:10:244::5")
	for b.Loop() {
		p.attach(b)
		b.StopTimer()
		if err := Detach("default", "web", "eth0"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
