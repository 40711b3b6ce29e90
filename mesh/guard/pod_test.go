package guard

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
)

// macOf is the hardware address of the pod's end.
func (h *host) macOf(link string) net.HardwareAddr {
	h.T.Helper()
	mac, err := net.ParseMAC(strings.TrimSpace(h.Run(`ip -o link show %s | sed "s/.*link.ether //; s/ .*//"`, link)))
	if err != nil {
		h.T.Fatal(err)
	}
	return mac
}

func setPods(t *testing.T, g *Guard, macs map[string]net.HardwareAddr) {
	t.Helper()
	if err := g.SetPods(macs); err != nil {
		t.Fatal(err)
	}
}

// TestMAC has a pod send under a hardware address that is not its own: nobody gets that, not even the node, neighbour discovery included.
func TestMAC(t *testing.T) {
	t.Parallel()
	const other = "02:00:00:00:00:66"
	for family, s := range sides {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			l := build(t, s)
			run(t, "%s", "nft 'table inet tap { counter probes { }; chain in { type filter hook input priority 0; iifname != wrp1 accept; icmp type echo-request counter name probes; icmpv6 type { echo-request, nd-neighbor-solicit } counter name probes; }; }'")
			given := l.pod.macOf("eth0")
			g := newGuard(t)
			setPods(t, g, map[string]net.HardwareAddr{"wrp1": given})
			set(t, g, dual())
			arrived := func() int {
				return l.peer.seen("probes") + l.lan.seen("probes") + count(t, run(t, "nft list counter inet tap probes"))
			}
			targets := []string{s.peer, s.peerMesh, s.world, s.lan, s.node, s.mesh}
			l.pod.Run("%s; sleep 1", s.ping(s.node, "")) // Whatever asks for neighbours has done so.
			if n := delta(arrived, func() { _, _ = l.pod.Try("ping -n -c 1 -W 0.3 fe80::1%eth0") }); n > 0 {
				t.Errorf("%d packets with a link-local source arrived", n)
			}
			passes := func(when string, want bool) {
				t.Helper()
				for _, to := range targets {
					// Who found no neighbour under the address before does not ask again at once.
					_, _ = l.pod.Try("ip neighbour flush dev eth0")
					if n := delta(arrived, func() { _, _ = l.pod.Try(s.ping(to, "")) }); (n > 0) != want {
						t.Errorf("%s, to %s: %d packets arrived, want any: %v", when, to, n, want)
					}
				}
			}
			passes("under its own", true)
			l.pod.Run("ip link set eth0 address %s", other)
			passes("under another", false)
			c, err := g.Counters()
			if err != nil || c.PodSpoof.Packets == 0 {
				t.Errorf("counted %+v, %v", c, err)
			}
			mac, _ := net.ParseMAC(other)
			if err := g.AddPod("wrp1", mac); err != nil {
				t.Fatal(err)
			}
			passes("under another, which it was given", true)
			l.pod.Run("ip link set eth0 address %s", given)
			passes("under the one that it was given before", false)
			if err := g.RemovePod("wrp1"); err != nil {
				t.Fatal(err)
			}
			passes("under whichever, since none is known", true)
		})
	}
}

// TestPods adds and removes pods before, between and after what else changes the table, and looks at what is sent.
func TestPods(t *testing.T) {
	namespace(t)
	mac := func(i int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)} }
	g := newGuard(t)
	if err := g.AddPod("wrp0", mac(0)); err != nil { // Nobody has made the table yet.
		t.Fatal(err)
	}
	set(t, g, dual())
	const many = 300
	for i := range many {
		before := generation(t, g)
		if err := g.AddPod(fmt.Sprint("wrp", i), mac(i)); err != nil {
			t.Fatal(err)
		}
		if n, want := generation(t, g)-before, uint32(min(i, 1)); n != want {
			t.Fatalf("pod %d: %d transactions, want %d", i, n, want)
		}
	}
	holds := func(when string, want int) {
		t.Helper()
		if n := strings.Count(run(t, "nft list set inet warren-mesh podmacs"), " . "); n != want+1 { // The type is one, too.
			t.Errorf("%s: %d hardware addresses, want %d", when, n-1, want)
		}
		if n := strings.Count(run(t, "nft list set inet warren-mesh podlinks"), `"wrp`); n != want {
			t.Errorf("%s: %d links, want %d", when, n, want)
		}
	}
	holds("added", many)
	run(t, "nft list ruleset | nft -c -f -")
	changed := dual()
	changed.Own = prefixes("10.244.7.0/24")
	set(t, g, changed)
	holds("after another plan", many)
	run(t, "nft flush set inet warren-mesh podmacs")
	g.Forget()
	set(t, g, changed)
	holds("after a repair", many)
	run(t, "nft delete table inet warren-mesh") // A pod that comes just then.
	if err := g.AddPod("wrpx", mac(many)); err != nil {
		t.Fatal(err)
	}
	set(t, g, changed)
	holds("after the table was gone", many+1)

	other := newGuard(t) // An agent that was started again, and was told of no plan yet.
	if err := other.AddPod("wrpy", mac(many+1)); err != nil {
		t.Fatal(err)
	}
	holds("by an agent that knows of one pod only", 1)
	for i := range 10 {
		if err := g.RemovePod(fmt.Sprint("wrp", i)); err != nil {
			t.Fatal(err)
		}
	}
	g.Forget()
	set(t, g, changed)
	holds("removed", many+1-10)
}

// TestBadPods is refused before anything is touched.
func TestBadPods(t *testing.T) {
	namespace(t)
	g := newGuard(t)
	good := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for link, mac := range map[string]net.HardwareAddr{"eth0": good, "wrp-too-long-a-name": good, "": good, "wrp1": nil, "wrp2": make(net.HardwareAddr, 8)} {
		if g.AddPod(link, mac) == nil || g.SetPods(map[string]net.HardwareAddr{link: mac}) == nil {
			t.Errorf("link %q, address %q: no error", link, mac)
		}
	}
	if len(g.pods) != 0 {
		t.Errorf("pods %v", g.pods)
	}
}

// BenchmarkPod adds and removes one pod among others.
func BenchmarkPod(b *testing.B) {
	for _, others := range []int{0, 250, 1000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			g := benchGuard(b, others)
			for b.Loop() {
				if err := g.AddPod("wrp", net.HardwareAddr{2, 0, 0, 0, 0, 1}); err != nil {
					b.Fatal(err)
				}
				if err := g.RemovePod("wrp"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchGuard(b *testing.B, pods int) *Guard {
	b.Helper()
	nfttest.Isolate(b)
	g, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = g.Close() })
	macs := map[string]net.HardwareAddr{}
	for i := range pods {
		macs[fmt.Sprint("wrp", i)] = net.HardwareAddr{2, 1, 0, 0, byte(i >> 8), byte(i)}
	}
	if err := g.SetPods(macs); err != nil {
		b.Fatal(err)
	}
	if err := g.Set(dual()); err != nil {
		b.Fatal(err)
	}
	return g
}

// TestPodsAtOnce has many pods come while one change is under way: they share the next transaction, and all have what they asked for last.
func TestPodsAtOnce(t *testing.T) {
	namespace(t)
	g := newGuard(t)
	set(t, g, dual())
	mac := func(i int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, byte(i)} }
	if err := g.AddPod("wrp-goes", mac(200)); err != nil {
		t.Fatal(err)
	}
	before := generation(t, g)
	const many = 50
	g.mu.Lock()
	var all errgroup.Group
	queued := func() int {
		g.queue.Lock()
		defer g.queue.Unlock()
		return len(g.queued)
	}
	await := func(n int) {
		for queued() < n {
			time.Sleep(time.Millisecond)
		}
	}
	for i := range many {
		all.Go(func() error { return g.AddPod(fmt.Sprint("wrp", i), mac(i)) })
	}
	all.Go(func() error { return g.RemovePod("wrp-goes") })
	await(many + 1)
	all.Go(func() error { return g.AddPod("wrp0", mac(100)) }) // Of two changes the later holds.
	await(many + 2)
	all.Go(func() error { return g.RemovePod("wrp1") })
	await(many + 3)
	g.mu.Unlock()
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := generation(t, g) - before; n != 1 {
		t.Errorf("%d transactions, want 1", n)
	}
	listing := run(t, "nft list set inet warren-mesh podmacs")
	if n := strings.Count(listing, `"wrp`); n != many-1 {
		t.Errorf("%d pods, want %d: %s", n, many-1, listing)
	}
	for text, want := range map[string]bool{
		`"wrp0" . ` + mac(100).String(): true, `"wrp0" . ` + mac(0).String(): false, `"wrp1"`: false, `"wrp2" . ` + mac(2).String(): true, "goes": false,
	} {
		if strings.Contains(listing, text) != want {
			t.Errorf("%s is there: %v, want %v: %s", text, !want, want, listing)
		}
	}
}
