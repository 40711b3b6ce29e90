package guard

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/mesh"
)

const list = "nft -s list table inet " + mesh.GuardTable

// TestTable reads the whole table back through nft.
func TestTable(t *testing.T) {
	ipv4 := mesh.Guard{
		Lanes: []string{"warren0"}, Cluster: prefixes("10.244.0.0/16"), Own: prefixes("10.244.1.0/24"),
		Mesh: []netip.Addr{netip.MustParseAddr("10.244.1.1")},
	}
	ipv6 := mesh.Guard{
		Lanes: []string{"warren0"}, Cluster: prefixes("fd00:244::/56"), Own: prefixes("fd00:244:0:1::/64"),
		Mesh: []netip.Addr{netip.MustParseAddr("fd00:244:0:1::1")},
	}
	// Overlapping and touching prefixes, and two lanes.
	both := dual()
	both.Lanes = []string{"warren1", "warren0"}
	both.Cluster = append(both.Cluster, prefixes("10.245.0.0/16", "10.244.0.0/15")...)
	both.Own = append(both.Own, prefixes("10.244.2.0/24", "10.244.9.0/26")...)
	kept := dual()
	kept.NATExclude, kept.NATOff = prefixes("10.0.0.0/8", "2001:db8::/32"), prefixes("10.244.1.128/25")
	kept.Nodes = []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2")}
	theirs := dual()
	theirs.PodLinks = []string{"veth*", "cni0"}
	migrating := theirs
	migrating.OldLinks, migrating.OldTo, migrating.OldFrom = []string{"flannel.1", "flannel-v6.1"}, prefixes("10.244.3.0/24", "fd00:244:0:3::/64"), prefixes("10.244.2.0/24", "10.244.3.0/24")
	for name, want := range map[string]mesh.Guard{"migrating": migrating, "ipv4": ipv4, "ipv6": ipv6, "dual": both, "kept": kept, "theirs": theirs, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			g := newGuard(t)
			if name == "dual" {
				setPods(t, g, map[string]net.HardwareAddr{"wrp1": {2, 0, 0, 0, 0, 1}, "wrp2": {2, 0, 0, 0, 0, 2}})
			}
			set(t, g, want)
			nfttest.Golden(t, "testdata/"+name+".nft", run(t, list))
			run(t, "nft list ruleset | nft -c -f -") // nft takes what it lists: no name is a word of its own.
		})
	}
}

// TestBadPodLinks: names that would say more than they should are refused, and nothing changes.
func TestBadPodLinks(t *testing.T) {
	namespace(t)
	g := newGuard(t)
	for _, links := range [][]string{{""}, {"*"}, {"lo"}, {"l*"}, {"cni0", "warren*"}, {"warren0"}, {"cni0123456789012"}} {
		bad := dual()
		bad.PodLinks = links
		if err := g.Set(bad); err == nil {
			t.Errorf("%q is taken", links)
		}
	}
	if present, err := g.Present(); err != nil || present {
		t.Errorf("there is a guard: %v, %v", present, err)
	}
}

// generation is the number of the ruleset's generation: it tells every transaction.
func generation(t *testing.T, g *Guard) uint32 {
	t.Helper()
	n, err := g.conn.Generation()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNothingSent counts transactions.
func TestNothingSent(t *testing.T) {
	namespace(t)
	run(t, "iptables -P FORWARD DROP")
	g := newGuard(t)
	if generation(t, g) == func() uint32 { set(t, g, dual()); return generation(t, g) }() {
		t.Fatal("the first Set is no transaction: this test proves nothing")
	}
	before := generation(t, g)
	set(t, g, dual())
	g.Forget()
	set(t, g, dual())
	other := newGuard(t) // An agent that was started again.
	set(t, other, dual())
	if _, err := other.Counters(); err != nil {
		t.Fatal(err)
	}
	if after := generation(t, g); after != before {
		t.Errorf("%d transactions for what the kernel already held", after-before)
	}
}

// TestCountersSurvive changes everything that can change, and puts a broken table right.
func TestCountersSurvive(t *testing.T) {
	l := build(t, sides["IPv4"])
	run(t, "ip route del %s dev warren0", l.peers)
	g := newGuard(t)
	set(t, g, dual())
	_, _ = nfttest.Try(l.ping(l.side.peer, ""))
	counters := func() Counters {
		c, err := g.Counters()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := counters()
	if before.Clear.Packets == 0 {
		t.Fatal("nothing was counted: this test proves nothing")
	}
	changed := dual()
	changed.Lanes = []string{"warren0", "warren1"}
	changed.Cluster, changed.Own, changed.Mesh = prefixes("10.240.0.0/12"), prefixes("10.244.0.0/23"), changed.Mesh[:1]
	set(t, g, changed)
	run(t, "nft 'flush chain inet warren-mesh egress; delete chain inet warren-mesh egress; add chain inet warren-mesh egress { type filter hook postrouting priority 5; }'")
	g.Forget()
	set(t, g, changed)
	if d := cmp.Diff(before, counters()); d != "" {
		t.Errorf("counters (-before +after):\n%s", d)
	}
}

// TestRepair lets somebody else at the table.
func TestRepair(t *testing.T) {
	for name, tamper := range map[string]string{
		"table deleted":    "delete table inet warren-mesh",
		"table flushed":    "flush table inet warren-mesh",
		"table asleep":     "add table inet warren-mesh { flags dormant; }",
		"ruleset flushed":  "flush ruleset",
		"chain deleted":    "flush chain inet warren-mesh egress; delete chain inet warren-mesh egress",
		"chain flushed":    "flush chain inet warren-mesh from-lane",
		"chain moved":      "delete chain inet warren-mesh egress; add chain inet warren-mesh egress { type filter hook postrouting priority 5; }",
		"policy changed":   "add chain inet warren-mesh forward { policy drop; }",
		"rule deleted":     "delete rule inet warren-mesh egress handle HANDLE",
		"rule added":       "insert rule inet warren-mesh egress accept",
		"rule replaced":    "replace rule inet warren-mesh egress handle HANDLE ip daddr 10.0.0.0/8 accept",
		"element deleted":  "delete element inet warren-mesh cluster4 { 10.244.0.0/16 }",
		"element added":    "add element inet warren-mesh own4 { 10.244.7.0/24 }",
		"element replaced": "flush set inet warren-mesh own6; add element inet warren-mesh own6 { fd00:244:0:1::/65 }",
		"lane added":       "add element inet warren-mesh lanes { eth0 }",
		"set added":        "add set inet warren-mesh stray { type ipv4_addr; }",
		"counter added":    "add counter inet warren-mesh stray",
		"set of another type": "flush table inet warren-mesh; delete set inet warren-mesh own6; " +
			"add set inet warren-mesh own6 { type ipv4_addr; }",
		"chains added": "add chain inet warren-mesh stray; add chain inet warren-mesh stray2 { type filter hook input priority 0; policy drop; }; " +
			"add rule inet warren-mesh stray2 jump stray; insert rule inet warren-mesh egress jump stray; add rule inet warren-mesh stray accept; " +
			"add map inet warren-mesh to { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump stray }; }; add rule inet warren-mesh stray2 ip daddr vmap @to",
	} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			g := newGuard(t)
			set(t, g, dual())
			whole := run(t, list)
			run(t, `handle=$(nft -a list chain inet warren-mesh egress | sed -n "s/.*daddr 10.244.0.0.*handle //p")
				nft "$(echo '%s' | sed s/HANDLE/$handle/)"`, tamper)
			if out, _ := nfttest.Try(list); out == whole {
				t.Fatal("nothing was broken: this test proves nothing")
			}
			g.Forget()
			set(t, g, dual())
			if d := cmp.Diff(sorted(whole), sorted(run(t, list))); d != "" {
				t.Errorf("after the repair (-want +got):\n%s", d)
			}
		})
	}
}

// sorted leaves out the order of a listing: what was put back comes last.
func sorted(listing string) []string {
	return slices.Sorted(slices.Values(splitObjects(listing)))
}

// TestChangedUnderUs is a Set whose idea of the kernel is out of date.
func TestChangedUnderUs(t *testing.T) {
	namespace(t)
	g := newGuard(t)
	set(t, g, dual())
	run(t, "nft delete table inet warren-mesh")
	want := dual()
	want.Own = prefixes("10.244.3.0/24")
	set(t, g, want)
	other := newGuard(t)
	before := generation(t, g)
	set(t, other, want)
	if generation(t, g) != before {
		t.Errorf("Set left something to do; the kernel held:\n%s", run(t, list))
	}
}

// TestInvalid is refused before anything is touched.
func TestInvalid(t *testing.T) {
	namespace(t)
	g := newGuard(t)
	for name, want := range map[string]mesh.Guard{
		"lane without a name":  {Lanes: []string{""}},
		"lane's name too long": {Lanes: []string{"sixteen-letters-"}},
		"lane as a pod's link": {Lanes: []string{"wrp0"}},
		"no prefix":            {Own: make([]netip.Prefix, 1)},
		"mapped prefix":        {Cluster: prefixes("::ffff:10.0.0.0/104")},
		"no address":           {Mesh: make([]netip.Addr, 1)},
		"no excluded prefix":   {NATExclude: make([]netip.Prefix, 1)},
		"no prefix to keep":    {NATOff: make([]netip.Prefix, 1)},
		"no node's address":    {Nodes: make([]netip.Addr, 1)},
	} {
		if err := g.Set(want); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if out := run(t, "nft list ruleset"); out != "" {
		t.Errorf("the kernel holds:\n%s", out)
	}
}

// TestWatch tells others' changes from our own.
func TestWatch(t *testing.T) {
	namespace(t)
	run(t, "nft 'table ip other { chain c { }; }'")
	g := newGuard(t)
	ctx, stop := context.WithCancel(t.Context())
	changed, err := g.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	told := func() bool {
		select {
		case <-changed:
			return true
		case <-time.After(5 * time.Second):
			return false
		}
	}
	set(t, g, dual())
	run(t, "nft add rule ip other c accept")
	for _, change := range []string{
		"nft delete element inet warren-mesh cluster4 '{ 10.244.0.0/16 }'",
		"nft flush chain inet warren-mesh egress",
		"nft delete table inet warren-mesh",
		"iptables -P FORWARD DROP",
	} {
		run(t, "%s", change)
		if !told() {
			t.Errorf("not told of: %s", change)
		}
		for len(changed) > 0 { // One command may be several transactions.
			<-changed
		}
	}
	g.Forget()
	set(t, g, dual())
	run(t, "iptables -F FORWARD")
	if !told() {
		t.Error("not told that our accepts are gone")
	}
	stop()
	for {
		select {
		case _, open := <-changed:
			if !open {
				return
			}
		case <-time.After(5 * time.Second):
			t.Fatal("still open after the context ended")
		}
	}
}
