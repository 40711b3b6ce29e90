package guard

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/mesh"
)

// namespace gives the test a network namespace of its own, which ends with its thread.
func namespace(t *testing.T) {
	t.Helper()
	nfttest.Isolate(t)
	run(t, "ip link set lo up")
}

// newGuard makes a guard in the test's namespace.
func newGuard(t *testing.T) *Guard {
	t.Helper()
	g, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func set(t *testing.T, g *Guard, want mesh.Guard) {
	t.Helper()
	if err := g.Set(want); err != nil {
		t.Fatal(err)
	}
}

// run runs a shell command in the test's namespace, which has to succeed.
func run(t *testing.T, command string, args ...any) string {
	t.Helper()
	return nfttest.Run(t, command, args...)
}

// host is another machine.
type host struct{ *nfttest.Host }

func newHost(t *testing.T) *host {
	t.Helper()
	return &host{nfttest.NewHost(t, quiet)}
}

// quiet lets nothing but the guard drop packets.
const quiet = `sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0 \
	net.ipv4.conf.all.accept_local=1 net.ipv4.icmp_ratelimit=0`

// tap counts what comes in, before anything else sees it: probes (pings, TCP, UDP), and packets with a pod's address.
const tap = `table inet tap {
	counter probes { }
	counter pods { }
	chain in {
		type filter hook prerouting priority -500;
		icmp type echo-request counter name probes
		icmpv6 type echo-request counter name probes
		meta l4proto { tcp, udp } counter name probes
		ip saddr 10.244.0.0/16 counter name pods
		ip daddr 10.244.0.0/16 counter name pods
		ip6 saddr fd00:244::/56 counter name pods
		ip6 daddr fd00:244::/56 counter name pods
	}
}`

func (h *host) tap() { h.T.Helper(); h.Run("echo \"%s\" | nft -f -", tap) }

var packets = regexp.MustCompile(`packets (\d+)`)

// seen reads one of the tap's counters.
func (h *host) seen(counter string) int {
	h.T.Helper()
	return count(h.T, h.Run("nft list counter inet tap %s", counter))
}

func count(t *testing.T, list string) int {
	t.Helper()
	m := packets.FindStringSubmatch(list)
	if m == nil {
		t.Fatalf("no counter in %q", list)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lab is a node in the test's own namespace, with a pod, a lane to a peer, and an underlay. The lane is a plain veth.
type lab struct {
	*side
	pod, peer, lan *host
}

// side is the addresses of one family.
type side struct {
	family         string
	mesh, pod      string // This node's.
	peerMesh, peer string // The peer's mesh address and its pod.
	node, lan      string // The underlay's two ends.
	world          string // Somewhere behind the underlay.
	service        string // Behind the default route too, unless somebody translates it.
	own, peers     string
	bits           int
}

var sides = map[string]*side{
	"IPv4": {
		family: "ip", mesh: "10.244.1.1", pod: "10.244.1.5", peerMesh: "10.244.2.1", peer: "10.244.2.7",
		node: "192.168.7.1", lan: "192.168.7.2", world: "203.0.113.9", service: "10.96.0.10",
		own: "10.244.1.0/24", peers: "10.244.2.0/24", bits: 32,
	},
	"IPv6": {
		family: "ip6", mesh: "fd00:244:0:1::1", pod: "fd00:244:0:1::5", peerMesh: "fd00:244:0:2::1", peer: "fd00:244:0:2::7",
		node: "2001:db8:7::1", lan: "2001:db8:7::2", world: "2001:db8:9::9", service: "fd00:96::10",
		own: "fd00:244:0:1::/64", peers: "fd00:244:0:2::/64", bits: 128,
	},
}

// build makes the lab. A lane, like WireGuard's device, knows no neighbours: its ends take all that comes.
func build(t *testing.T, s *side) *lab {
	t.Helper()
	namespace(t)
	run(t, quiet+"; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	l := &lab{side: s, pod: newHost(t), peer: newHost(t), lan: newHost(t)}
	ip := "ip " + map[string]string{"ip": "-4", "ip6": "-6"}[s.family]
	prefix := map[string]string{"ip": "24", "ip6": "64"}[s.family]
	run(t, "ip link add wrp1 type veth peer name eth0 netns %d; ip link set wrp1 up", l.pod.PID)
	run(t, "ip link add warren0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:01 netns %d", l.peer.PID)
	run(t, "ip link set warren0 arp off up; ip addr add %s/%d dev warren0", s.mesh, s.bits)
	run(t, "ip link add eth0 type veth peer name eth0 netns %d; ip link set eth0 up; ip addr add %s/%s dev eth0", l.lan.PID, s.node, prefix)

	l.pod.Run("ip link set eth0 up; ip addr add %s/%d dev eth0", s.pod, s.bits)
	if s.family == "ip" {
		run(t, "ip addr add 169.254.1.1/32 dev wrp1")
		l.pod.Run("ip route add 169.254.1.1 dev eth0; ip route add default via 169.254.1.1")
	} else {
		run(t, "ip addr add fe80::1/64 dev wrp1")
		l.pod.Run("ip route add default via fe80::1 dev eth0")
	}
	l.peer.Run("ip link set eth0 arp off up; ip addr add %s/%d dev eth0; ip addr add %s/%d dev eth0", s.peerMesh, s.bits, s.peer, s.bits)
	l.peer.Run("%s route add default dev eth0", ip)
	l.lan.Run("ip link set eth0 up; ip addr add %s/%s dev eth0; ip addr add %s/%d dev lo", s.lan, prefix, s.world, s.bits)
	l.lan.Run("%s route add %s via %s", ip, s.own, s.node)
	run(t, "%s route add %s dev wrp1 proto 87 src %s; %s route add %s dev warren0 src %s", ip, s.pod, s.mesh, ip, s.peers, s.mesh)
	run(t, "%s route add default via %s", ip, s.lan)
	for _, h := range []*host{l.pod, l.peer, l.lan} {
		h.tap()
	}
	return l
}

// ping is a command that sends one, from an address if one is given, and fails when no answer comes.
func (s *side) ping(to, from string) string {
	if from != "" {
		from = "-I " + from
	}
	return fmt.Sprintf("ping -n -c 1 -W 0.3 %s %s", from, to)
}

// dnat translates a destination on the node, as kube-proxy does: for what it sends itself and for what comes in.
func (l *lab) dnat(t *testing.T, from, to string) {
	t.Helper()
	rule := fmt.Sprintf("%s daddr %s dnat to %s", l.family, from, to)
	run(t, `nft 'table %s kube { chain in { type nat hook prerouting priority -100; %s; }; chain out { type nat hook output priority -100; %s; }; }'`,
		l.family, rule, rule)
}

// delta is how much f adds to what is counted.
func delta(count func() int, f func()) int {
	before := count()
	f()
	return count() - before
}

// lines drops empty lines and indentation.
func lines(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

// splitObjects cuts a table's listing into its objects: sets, counters and chains.
func splitObjects(listing string) []string {
	return strings.Split(listing, "\n\t}\n")
}
