package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
)

// open opens a socket in a network namespace that is the test's own and ends with its thread.
func open(t *testing.T) *Conn {
	t.Helper()
	nfttest.Isolate(t)
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func nft(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("timeout", "20", "nft", command).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", command, err, out)
	}
	return string(out)
}

// apply reads and applies, as one does who knows nothing.
func apply(t *testing.T, c *Conn, want Table) bool {
	t.Helper()
	have, err := c.Read(want.Family, want.Name)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := c.Apply(have, want)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// every is a table in which every match and statement occurs.
func every() Table {
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	return Table{
		Family: INet, Name: "t",
		Counters: []Counter{{Name: "n"}},
		Sets: []Set{
			InterfaceSet("i", []string{"eth0"}),
			AddressSet("a", IPv4, []netip.Prefix{netip.PrefixFrom(v4, 32)}),
			AddressSet("b", IPv6, []netip.Prefix{netip.PrefixFrom(v6, 64)}),
			{Name: "h", Kind: IPv4Addresses, Elements: []Element{AddressElement(v4)}},
			{Name: "p4", Kind: IPv4Ports, Elements: []Element{PortElement(v4, unix.IPPROTO_TCP, 80)}},
			{Name: "p6", Kind: IPv6Ports, Elements: []Element{PortElement(v6, unix.IPPROTO_SCTP, 81)}},
			{Name: "i4", Kind: InterfaceIPv4s, Elements: []Element{InterfaceAddressElement("eth0", v4)}},
			{Name: "i6", Kind: InterfaceIPv6s, Elements: []Element{InterfaceAddressElement("eth0", v6)}},
			{Name: "f4", Kind: IPv4Flows},
			{Name: "f6", Kind: IPv6Flows},
			{Name: "m", Kind: InterfaceVerdicts, Elements: []Element{InterfaceGoto("eth0", "c")}},
			{Name: "n", Kind: InterfaceVerdicts, Elements: []Element{InterfaceReturn("eth0")}},
		},
		Chains: []Chain{
			{Name: "c", Rules: []Rule{
				NewRule(IIFName("eth0"), Count(), Accept()),
				NewRule(IIFName("wrp*"), CountAs("n"), Drop()).Commented("ours"),
				NewRule(IIFNameNot("lo")),
				NewRule(OIFName("eth0")),
				NewRule(OIFNameIn("i")),
				NewRule(SaddrIn(IPv4, "a"), DaddrNotIn(IPv4, "a")),
				NewRule(SaddrNotIn(IPv6, "b")),
				NewRule(Saddr(netip.PrefixFrom(v4, 32))),
				NewRule(Saddr(netip.MustParsePrefix("10.16.0.0/12")), Reply()),
				NewRule(Daddr(netip.MustParsePrefix("10.32.0.0/11")), Daddr(netip.PrefixFrom(v6, 128))),
				NewRule(Saddr(netip.MustParsePrefix("fe80::/10")), ICMPv6()),
			}},
			{Name: "d", Rules: []Rule{
				NewRule(DaddrPortIn(IPv4, "p4"), SaddrIn(IPv4, "h"), Return()),
				NewRule(DaddrPortIn(IPv6, "p6"), Return()),
				NewRule(IIFNameDaddrIn(IPv4, "i4"), Limit(5), Log(7, "text")),
				NewRule(IIFNameDaddrIn(IPv6, "i6")),
				NewRule(FlowIn(IPv4, "f4"), Goto("c")),
				NewRule(FlowIn(IPv6, "f6"), Goto("c")),
				NewRule(NotProtocol(unix.IPPROTO_TCP), KeepFlow(IPv4, "f4", false, time.Minute)),
				NewRule(KeepFlow(IPv6, "f6", true, time.Minute)),
				NewRule(Protocol(unix.IPPROTO_UDP), Established()),
				NewRule(Ports(unix.IPPROTO_UDP, 53, 53)),
				NewRule(Ports(unix.IPPROTO_SCTP, 80, 90)),
				NewRule(NeighbourDiscovery()),
				NewRule(IIFNameMap("m")),
				NewRule(OIFNameMap("n")),
			}},
			{Name: "f", Hook: &Hook{Type: "filter", Number: Forward, Priority: -5, Drop: true}, Rules: []Rule{NewRule(SYN(), ClampMSS()), NewRule(Jump("c")), NewRule(Goto("c"))}},
			{Name: "p", Hook: &Hook{Type: "filter", Number: Prerouting, Priority: -350}, Rules: []Rule{NewRule(NoWayBack(), Drop())}},
			{Name: "s", Hook: &Hook{Type: "nat", Number: Postrouting, Priority: 100}, Rules: []Rule{
				NewRule(SaddrIn(IPv4, "a"), SNAT(v4)), NewRule(SaddrIn(IPv6, "b"), SNAT(v6)), NewRule(Masquerade()),
			}},
		},
	}
}

// TestText reads every match and statement as nft does, and as we do.
func TestText(t *testing.T) {
	c := open(t)
	if !apply(t, c, every()) {
		t.Error("the first time nothing was sent")
	}
	want := `table inet t {
	counter n {
	}

	set i {
		type ifname
		elements = { "eth0" }
	}

	set a {
		type ipv4_addr
		flags interval
		elements = { 10.0.0.1 }
	}

	set b {
		type ipv6_addr
		flags interval
		elements = { fd00::/64 }
	}

	set h {
		type ipv4_addr
		elements = { 10.0.0.1 }
	}

	set p4 {
		type ipv4_addr . inet_proto . inet_service
		elements = { 10.0.0.1 . tcp . 80 }
	}

	set p6 {
		type ipv6_addr . inet_proto . inet_service
		elements = { fd00::1 . sctp . 81 }
	}

	set i4 {
		type ifname . ipv4_addr
		elements = { "eth0" . 10.0.0.1 }
	}

	set i6 {
		type ifname . ipv6_addr
		elements = { "eth0" . fd00::1 }
	}

	set f4 {
		type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service
		size 65535
		flags timeout
	}

	set f6 {
		type ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service
		size 65535
		flags timeout
	}

	map m {
		type ifname : verdict
		elements = { "eth0" : goto c }
	}

	map n {
		type ifname : verdict
		elements = { "eth0" : return }
	}

	chain c {
		iifname "eth0" counter accept
		iifname "wrp*" counter name "n" drop comment "ours"
		iifname != "lo"
		oifname "eth0"
		oifname @i
		ip saddr @a ip daddr != @a
		ip6 saddr != @b
		ip saddr 10.0.0.1
		ip saddr 10.16.0.0/12 ct direction reply
		ip daddr 10.32.0.0/11 ip6 daddr fd00::1
		ip6 saddr fe80::/10 meta l4proto ipv6-icmp
	}

	chain d {
		ip daddr . meta l4proto . th dport @p4 ip saddr @h return
		ip6 daddr . meta l4proto . th dport @p6 return
		iifname . ip daddr @i4 limit rate 5/second log prefix "text" group 7
		iifname . ip6 daddr @i6
		ip saddr . ip daddr . meta l4proto . th sport . th dport @f4 goto c
		ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport @f6 goto c
		meta l4proto != tcp update @f4 { ip saddr . ip daddr . meta l4proto . th sport . th dport timeout 1m }
		update @f6 { ip6 daddr . ip6 saddr . meta l4proto . th dport . th sport timeout 1m }
		meta l4proto udp ct state established,related
		udp dport 53
		sctp dport 80-90
		icmpv6 type 133-137
		iifname vmap @m
		oifname vmap @n
	}

	chain f {
		type filter hook forward priority filter - 5; policy drop;
		tcp flags syn / syn,rst tcp option maxseg size set rt mtu
		jump c
		goto c
	}

	chain p {
		type filter hook prerouting priority -350; policy accept;
		fib saddr . iif oif missing drop
	}

	chain s {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr @a snat ip to 10.0.0.1 fully-random
		ip6 saddr @b snat ip6 to fd00::1 fully-random
		masquerade fully-random
	}
}
`
	out, err := exec.Command("nft", "-s", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(out)); d != "" {
		t.Errorf("nft lists (-want +got):\n%s", d)
	}
	if apply(t, c, every()) {
		t.Error("the second time something was sent: what is read differs from what was written")
	}
}

// TestMany goes beyond what one message holds.
func TestMany(t *testing.T) {
	c := open(t)
	const n = 10_000
	var prefixes []netip.Prefix
	for i := range n {
		prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 7), byte(i << 1), 0}), 24))
	}
	want := Table{Family: INet, Name: "t", Sets: []Set{AddressSet("a", IPv4, prefixes)}}
	apply(t, c, want)
	if got := strings.Count(nft(t, "list set inet t a"), "/24"); got != n {
		t.Errorf("nft lists %d ranges of %d", got, n)
	}
	fewer := Table{Family: INet, Name: "t", Sets: []Set{AddressSet("a", IPv4, prefixes[n-3:])}}
	apply(t, c, fewer)
	if got := strings.Count(nft(t, "list set inet t a"), "/24"); got != 3 {
		t.Errorf("nft lists %d ranges of 3", got)
	}
}

// TestAllOrNothing fails in the middle of a transaction, and when all of it is looked at, and goes on with the next.
func TestAllOrNothing(t *testing.T) {
	c := open(t)
	for _, bad := range []struct {
		rule Rule
		want error
	}{{NewRule(OIFNameIn("missing"), Drop()), unix.ENOENT}, {NewRule(Jump("f")), unix.EOPNOTSUPP}, {NewRule(Goto("d")), unix.EMLINK}} {
		table := every()
		table.Chains[0].Rules = append(table.Chains[0].Rules, bad.rule)
		if _, err := c.Apply(nil, table); !errors.Is(err, bad.want) {
			t.Errorf("%v was taken or refused otherwise: %v, want %v", bad.rule, err, bad.want)
		}
		if out := nft(t, "list ruleset"); out != "" {
			t.Fatalf("after the failure the kernel holds:\n%s", out)
		}
	}
	apply(t, c, every())
	if apply(t, c, every()) {
		t.Error("after a failure the socket reads what is not there")
	}
}

// TestRefuses asks it of rules as nft writes them.
func TestRefuses(t *testing.T) {
	c := open(t)
	want := []bool{false, true, true, true, true, false, false, false}
	nft(t, `table inet o { chain f { type filter hook forward priority 0;
		accept; drop; counter drop; reject; counter log prefix "x" reject with icmpx type admin-prohibited;
		ip saddr 10.0.0.0/8 drop; ct state invalid drop; counter; }; }`)
	chains, err := c.BaseChains(Forward, "ours")
	if err != nil {
		t.Fatal(err)
	}
	if len(chains) != 1 || len(chains[0].Rules) != len(want) {
		t.Fatalf("read %+v", chains)
	}
	for i, r := range chains[0].Rules {
		if r.Refuses() != want[i] {
			t.Errorf("rule %d: %v, want %v", i+1, r.Refuses(), want[i])
		}
	}
}

// TestMark puts rules at the head of a chain among others, once.
func TestMark(t *testing.T) {
	c := open(t)
	nft(t, `table ip o { chain f { type filter hook forward priority 0; accept comment "theirs"; }; }`)
	rules := []Rule{NewRule(IIFName("a"), Accept()), NewRule(IIFName("b"), Accept())}
	mark := func(want []Rule) string {
		t.Helper()
		chains, err := c.BaseChains(Forward, "ours")
		if err != nil || len(chains) != 1 {
			t.Fatalf("%d chains, error %v", len(chains), err)
		}
		removed, added, err := c.Mark(chains[0], "ours", want)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d removed, %d added", removed, added)
	}
	for _, step := range []struct {
		rules []Rule
		want  string
	}{
		{rules, "0 removed, 2 added"}, {rules, "0 removed, 0 added"}, {rules[:1], "2 removed, 1 added"}, {nil, "1 removed, 0 added"}, {rules, "0 removed, 2 added"},
	} {
		if got := mark(step.rules); got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
	want := `table ip o {
	chain f {
		type filter hook forward priority filter; policy accept;
		iifname "a" accept comment "ours"
		iifname "b" accept comment "ours"
		accept comment "theirs"
	}
}
`
	if d := cmp.Diff(want, nft(t, "list ruleset")); d != "" {
		t.Errorf("nft lists (-want +got):\n%s", d)
	}
}
