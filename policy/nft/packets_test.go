package nft

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/policy"
)

func bind(i, in, out string, own ...string) policy.Binding {
	b := policy.Binding{Interface: i, Ingress: in, Egress: out}
	for _, a := range own {
		b.Addresses = append(b.Addresses, addr(a))
	}
	return b
}

func boundA(in, out string) policy.Binding {
	return bind(ifA, in, out, "10.244.1.5", "fd00:244:0:1::5")
}
func boundB(in, out string) policy.Binding {
	return bind(ifB, in, out, "10.244.1.6", "fd00:244:0:1::6")
}

// in and out are chains.
func in(rules ...policy.Rule) policy.Chain {
	return policy.Chain{Name: "ingress-1", Direction: policy.Ingress, Rules: rules}
}

func out(rules ...policy.Rule) policy.Chain {
	return policy.Chain{Name: "egress-1", Direction: policy.Egress, Rules: rules}
}

var (
	deny   = policy.Rule{Verdict: policy.Deny}
	fromB4 = policy.Rule{Peer: "b4", Verdict: policy.Accept}
	fromB6 = policy.Rule{Peer: "b6", Verdict: policy.Accept}
)

func port(p policy.Protocol, first, last uint16, v policy.Verdict) policy.Rule {
	return policy.Rule{Protocol: p, Ports: ports(first, last), Verdict: v}
}

// sets are those that the cases name.
func sets() []policy.Set {
	named := func(name string, kind policy.SetKind, a string) policy.Set {
		return policy.Set{Name: name, Kind: kind, Members: map[policy.Member]struct{}{{Address: addr(a), Protocol: policy.TCP, Port: 81}: {}}}
	}
	return []policy.Set{
		addresses("b4", "10.244.1.6"), addresses("b6", "fd00:244:0:1::6"),
		named("web4", policy.Ports4, "10.244.1.5"), named("web6", policy.Ports6, "fd00:244:0:1::5"),
		{Name: "lan4", Kind: policy.Ranges4, Ranges: spans(addr("192.168.7.0"), addr("192.168.7.255"))},
		{Name: "lan6", Kind: policy.Ranges6, Ranges: spans(addr("2001:db8:7::"), addr("2001:db8:7::ffff"))},
	}
}

// TestPackets asks who reaches whom, of each ruleset in turn, on one node.
func TestPackets(t *testing.T) {
	l := build(t)
	l.dnat()
	table := newTable(t, Options{LogGroup: 5})
	for _, c := range []struct {
		name       string
		rules      policy.Ruleset
		pass, drop string
	}{
		{
			"nothing applies", ruleset(nil, nil, boundA("", ""), boundB("", "")),
			"a>b tcp 80, b>a udp 80, a>b icmp, a>world tcp 80, world>a tcp 80, a>peer tcp 80, peer>a udp 80, a>node tcp 80, node>a tcp 80", "",
		},
		{
			"what is not bound has no network", ruleset(nil, nil, boundA("", "")),
			"node>c tcp 80, node>b tcp 80, world>node tcp 80, peer>a tcp 80",
			"c>a tcp 80, a>c tcp 80, c>world udp 80, c>node tcp 80, world>c tcp 80, peer>c tcp 80, a>b icmp",
		},
		{
			"ingress isolated", ruleset(nil, []policy.Chain{in(deny)}, boundA("ingress-1", ""), boundB("", "")),
			"a>b tcp 80, a>world udp 80, a>node tcp 80, a>peer icmp, node>a tcp 80, node>a udp 80", "b>a tcp 80, b>a udp 80, b>a icmp, world>a tcp 80, peer>a tcp 80",
		},
		{
			"egress isolated", ruleset(nil, []policy.Chain{out(deny)}, boundA("", "egress-1"), boundB("", "")),
			"b>a tcp 80, world>a udp 80, peer>a icmp, a>node tcp 80, node>a tcp 80", "a>b tcp 80, a>b udp 80, a>b icmp, a>world tcp 80, a>peer udp 80",
		},
		{
			"peers", ruleset(sets(), []policy.Chain{in(fromB4, fromB6, deny)}, boundA("ingress-1", ""), boundB("", "")),
			"b>a tcp 80, b>a udp 81, b>a icmp, node>a tcp 80", "world>a tcp 80, peer>a icmp",
		},
		{
			"ranges of addresses", ruleset(sets(), []policy.Chain{in(policy.Rule{Peer: "lan4", Verdict: policy.Accept}, policy.Rule{Peer: "lan6", Verdict: policy.Accept}, deny)},
				boundA("ingress-1", ""), boundB("", "")),
			"world>a tcp 80, world>a icmp", "b>a tcp 80, peer>a tcp 80",
		},
		{
			"ports", ruleset(nil, []policy.Chain{in(port(policy.TCP, 80, 81, policy.Accept), port(policy.UDP, 82, 82, policy.Accept), deny)}, boundA("ingress-1", ""), boundB("", "")),
			"b>a tcp 80, world>a tcp 81, peer>a udp 82", "b>a tcp 82, b>a udp 80, b>a icmp, world>a udp 81",
		},
		{
			"named ports", ruleset(sets(), []policy.Chain{in(policy.Rule{Target: "web4", Verdict: policy.Accept}, policy.Rule{Target: "web6", Verdict: policy.Accept}, deny)},
				boundA("ingress-1", ""), boundB("ingress-1", "")),
			"b>a tcp 81, world>a tcp 81", "b>a tcp 80, b>a udp 81, b>a icmp, a>b tcp 81",
		},
		{
			"tiers", ruleset(sets(), []policy.Chain{
				in(port(policy.TCP, 80, 80, policy.Deny), policy.Rule{Peer: "b4", Verdict: policy.Pass, Goto: "ingress-2"}, policy.Rule{Peer: "b6", Verdict: policy.Pass, Goto: "ingress-2"},
					port(policy.TCP, 81, 81, policy.Accept), policy.Rule{Verdict: policy.Pass, Goto: "ingress-2"}),
				{Name: "ingress-2", Direction: policy.Ingress, Rules: []policy.Rule{port(policy.UDP, 1, 65535, policy.Accept), deny}},
			}, boundA("ingress-1", ""), boundB("", "")),
			"world>a tcp 81, b>a udp 80, world>a udp 80, a>b tcp 80", "b>a tcp 80, world>a tcp 80, b>a tcp 81, world>a tcp 82, b>a icmp",
		},
		{
			"both ends", ruleset(nil, []policy.Chain{in(port(policy.TCP, 80, 80, policy.Accept), deny), out(port(policy.TCP, 80, 81, policy.Accept), deny)}, boundA("", "egress-1"), boundB("ingress-1", "")),
			"a>b tcp 80, a>world tcp 81, world>b tcp 80", "a>b tcp 81, a>b udp 80, a>world udp 81, world>b tcp 81",
		},
		{
			"the node", ruleset(nil, []policy.Chain{out(port(policy.TCP, 80, 80, policy.Deny))},
				policy.Binding{Interface: ifA, Host: "egress-1"}, boundB("", "")),
			"a>node tcp 81, a>node udp 80, a>world tcp 80, b>node tcp 80, node>a tcp 80", "a>node tcp 80",
		},
	} {
		set(t, table, c.rules)
		for name, f := range map[string]policy.SetKind{"IPv4": policy.Addresses4, "IPv6": policy.Addresses6} {
			run(t, "conntrack -F")
			for _, probe := range split(c.pass) {
				if !l.passes(f, probe) {
					t.Errorf("%s: %s %s is dropped", c.name, name, probe)
				}
			}
			for _, probe := range split(c.drop) {
				if l.passes(f, probe) {
					t.Errorf("%s: %s %s passes", c.name, name, probe)
				}
			}
		}
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ", ")
}

// dnat makes services of a's port 80, as kube-proxy does, and has the node listen.
func (l *lab) dnat() {
	l.t.Helper()
	for family, a := range map[string][2]netip.Addr{"ip": {addr("10.96.0.10"), l.hosts["a"].v4}, "ip6": {addr("fd00:96::10"), l.hosts["a"].v6}} {
		run(l.t, "nft 'table %s kube { chain in { type nat hook prerouting priority -100; %s daddr %s dnat to %s; }; chain out { type nat hook postrouting priority 100; %s saddr %s %s daddr %s masquerade; }; }'",
			family, family, a[0], a[1], family, a[1], family, a[1])
	}
	node := &host{v4: addr(node4), v6: addr(node6)}
	for _, p := range []string{"80", "81"} {
		tcp, err := net.Listen("tcp", ":"+p)
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { _ = tcp.Close() })
		go func() {
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				go echo(c)
			}
		}()
		for _, a := range []netip.Addr{node.v4, node.v6} {
			udp, err := net.ListenPacket("udp", net.JoinHostPort(a.String(), p))
			if err != nil {
				l.t.Fatal(err)
			}
			l.t.Cleanup(func() { _ = udp.Close() })
			go echoPackets(udp.(*net.UDPConn))
		}
	}
}

// TestServices are judged by where DNAT sends them, and one that brings a pod back to itself passes.
func TestServices(t *testing.T) {
	l := build(t)
	l.dnat()
	table := newTable(t, Options{})
	for _, service := range []string{"10.96.0.10", "fd00:96::10"} {
		a, b := l.hosts["a"], l.hosts["b"]
		set(t, table, ruleset(nil, []policy.Chain{in(deny), out(deny)}, boundA("ingress-1", "egress-1"), boundB("", "")))
		if !a.reaches(addr(service), "tcp 80") {
			t.Errorf("%s does not bring a pod back to itself", service)
		}
		if b.reaches(addr(service), "tcp 80") {
			t.Errorf("%s goes round the policy", service)
		}
		set(t, table, ruleset(sets(), []policy.Chain{in(fromB4, fromB6, deny)}, boundA("ingress-1", ""), boundB("", "")))
		if !b.reaches(addr(service), "tcp 80") {
			t.Errorf("%s is dropped although its pod is allowed", service)
		}
	}
}

// TestEstablished keeps what was let through when policy changes, for whoever revokes to decide.
func TestEstablished(t *testing.T) {
	l := build(t)
	table := newTable(t, Options{})
	set(t, table, ruleset(nil, nil, boundA("", ""), boundB("", "")))
	a := l.hosts["a"]
	var c net.Conn
	if err := l.hosts["b"].Within(func() (err error) {
		c, err = net.DialTimeout("tcp", netip.AddrPortFrom(a.v4, 80).String(), patience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	apply(t, table, policy.Delta{ChainsAdded: []policy.Chain{in(deny)}, PodsSet: []policy.Binding{boundA("ingress-1", "")}})
	if err := answer(c, "still there"); err != nil {
		t.Errorf("an established flow: %v", err)
	}
	if l.passes(policy.Addresses4, "b>a tcp 80") {
		t.Error("a new flow passes")
	}
}

// TestPathMTU brings the news that a path is narrow to a pod that nobody may reach.
func TestPathMTU(t *testing.T) {
	l := build(t)
	far := newHost(t, "198.51.100.2", "2001:db8:51::2")
	world, a := l.hosts["world"], l.hosts["a"]
	world.Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ip link add far0 mtu 1300 type veth peer name eth0 netns %d; ip link set far0 up; ip addr add 198.51.100.1/24 dev far0; ip addr add 2001:db8:51::1/64 dev far0", far.PID)
	far.Run("ip link set eth0 up; ip addr add %s/24 dev eth0; ip addr add %s/64 dev eth0", far.v4, far.v6)
	run(t, "ip route add 198.51.100.0/24 via %s; ip route add 2001:db8:51::/64 via %s", world.v4, world.v6)
	set(t, newTable(t, Options{}), ruleset(nil, []policy.Chain{in(deny)}, boundA("ingress-1", "")))
	for _, to := range []netip.Addr{far.v4, far.v6} {
		a.Run("ping -n -c 1 -W 0.3 -M do -s 1400 %s || true", to)
		if got := a.Run("ip route get %s", to); !strings.Contains(got, "mtu 1300") {
			t.Errorf("the path to %s is not known to be narrow: %s", to, got)
		}
	}
}

// TestSCTP is told from TCP with the same port, by raw packets.
func TestSCTP(t *testing.T) {
	l := build(t)
	a, b := l.hosts["a"], l.hosts["b"]
	table := newTable(t, Options{})
	for _, c := range []struct {
		rule policy.Rule
		want bool
	}{
		{port(policy.TCP, 80, 80, policy.Accept), false}, {port(policy.SCTP, 80, 80, policy.Accept), true}, {port(policy.SCTP, 81, 90, policy.Accept), false},
	} {
		set(t, table, ruleset(nil, []policy.Chain{in(c.rule, deny)}, boundA("ingress-1", ""), boundB("", "")))
		for network, to := range map[string]netip.Addr{"ip4:132": a.v4, "ip6:132": a.v6} {
			if got := b.init(a, network, to); got != c.want {
				t.Errorf("%+v: %s to port 80 arrives: %v", c.rule, network, got)
			}
		}
	}
}

// init sends an SCTP INIT to port 80 and says whether it arrives.
func (h *host) init(at *host, network string, to netip.Addr) bool {
	var l net.PacketConn
	if err := at.Within(func() (err error) { l, err = net.ListenPacket(network, to.String()); return err }); err != nil {
		h.T.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := h.Within(func() error {
		c, err := net.Dial(network, to.String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		const chunkInit = 1
		packet := make([]byte, 32)
		packet[0], packet[3] = 200, 80
		packet[12], packet[15] = chunkInit, 20
		_, err = c.Write(packet)
		return err
	}); err != nil {
		h.T.Fatal(err)
	}
	_ = l.SetReadDeadline(time.Now().Add(patience))
	_, _, err := l.ReadFrom(make([]byte, 100))
	return err == nil
}
