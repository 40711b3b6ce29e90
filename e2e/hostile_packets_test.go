package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

// beside is what the victim can reach and n1 must not, by the victim: the LAN beside it, a metadata service and the Internet behind
// that, and addresses of the victim itself that are no mesh address. The 1 and 3 are the victim's, on the LAN, and the 2 its neighbour's.
const beside = `
ip netns add lan
ip link add lan0 type veth peer name lan1 netns lan
ip address add 192.168.50.1/24 dev lan0; ip address add fd77::1/64 dev lan0 nodad
ip address add fd77::3/64 dev lan0 nodad; ip link set lan0 up
ip -n lan address add 192.168.50.2/24 dev lan1; ip -n lan address add fd77::2/64 dev lan1 nodad
ip -n lan link set lan1 up; ip -n lan link set lo up
for a in 169.254.169.254/32 198.51.100.9/32; do ip -n lan address add $a dev lo; ip route add $a via 192.168.50.2; done
for a in fd00:ec2::254/128 2001:db8::9/128; do ip -n lan address add $a dev lo; ip -6 route add $a via fd77::2; done
ip address add 169.254.169.123/32 dev lo; ip address add fd00:ec2::123/128 dev lo
`

// service is a service of which the victim has a pod, translated there as kube-proxy would.
const service = `table inet proxy {
	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		ip daddr 10.96.0.10 dnat ip to %s
		ip6 daddr fd00:10:96::a dnat ip6 to %s
	}
}
`

// shield is what stops a probe.
type shield int

const (
	none      shield = iota // it is allowed
	theGuard                // of n1's own pods, to where they may not go
	both                    // of others: WireGuard by its allowed IPs, and the guard
	wireguard               // of a third node's pods: to the guard it looks like theirs
)

// probing is one kind of packet that n1 sends through the tunnel to the victim.
type probing struct {
	name     string
	from, to string
	// at is where it must not come, and comes without the shields. Where that is the lane, by which it enters the victim, the
	// kernel has doubts of its own about it.
	at     string
	shield shield
	// early says that the kernel drops it before any firewall.
	early bool
}

// hostilePackets is the scene of packets that no node should send: n1 is the attacker and n2 the victim, of which n3 is a friend.
type hostilePackets struct {
	*scene
	places map[string]*arrivals
	last   uint32
	keys   map[string]string // of n1's and n2's devices
}

// TestHostilePackets: n1 is root on its own node and sends through its tunnel whatever it likes. Nothing comes through to the victim's
// LAN, its metadata service, the Internet, itself or a third, and nothing under another's address to its pods. Each of the two shields,
// WireGuard's allowed IPs and the guard, holds alone as well; and where both are down every packet arrives, so that the test would see it.
func TestHostilePackets(t *testing.T) {
	ctx := testContext(t)
	h := &hostilePackets{scene: newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})}
	h.meshed(ctx, t)
	h.prepare(ctx, t)
	all, n2 := h.probings(), h.Node("n2")
	guard := run(ctx, t, &n2.Host, "", "nft", "list", "table", "inet", "warren-mesh")
	count := func(s shield) (n int) {
		for _, p := range all {
			if p.shield == s && !p.early {
				n++
			}
		}
		return n
	}
	for _, phase := range []struct {
		name   string
		change func(t *testing.T)
		// through are those whose shields are down, or who need none.
		through []shield
		// spoofed and transit are what the guard counts; negative where there is no guard to count.
		spoofed, transit int
	}{
		{"as it is", func(*testing.T) {}, []shield{none}, 0, count(theGuard)},
		{"the guard alone", func(t *testing.T) {
			if err := n2.StopAgent(ctx); err != nil { // it would put right what follows
				t.Fatal(err)
			}
			h.letAll(ctx, t)
		}, []shield{none, wireguard}, count(both), count(theGuard)},
		{"no shield", func(t *testing.T) {
			run(ctx, t, &n2.Host, "", "nft", "delete", "table", "inet", "warren-mesh")
		}, []shield{none, theGuard, both, wireguard}, -1, -1},
		{"WireGuard alone", func(t *testing.T) { h.letOwn(ctx, t) }, []shield{none, theGuard}, -1, -1},
		{"a new agent", func(t *testing.T) {
			run(ctx, t, &n2.Host, guard, "nft", "-f", "-")
			h.startAgent(ctx, t, n2)
		}, []shield{none}, 0, count(theGuard)},
	} {
		t.Run(phase.name, func(t *testing.T) {
			stream := h.stream(ctx, t, "n2", "n3")
			phase.change(t)
			counts := phase.spoofed >= 0
			var spoofed, transit int
			if counts {
				spoofed, transit = h.dropped(ctx, t, "spoofed"), h.dropped(ctx, t, "transit")
			}
			h.send(ctx, t, all, phase.through)
			if counts {
				spoofed, transit = h.dropped(ctx, t, "spoofed")-spoofed, h.dropped(ctx, t, "transit")-transit
				if spoofed != phase.spoofed || transit != phase.transit {
					t.Errorf("the guard counted %d packets under others' addresses and %d to where n1's pods may not go, want %d and %d",
						spoofed, transit, phase.spoofed, phase.transit)
				}
			}
			h.unharmed(ctx, t, stream)
		})
	}
	h.sealed(ctx, t)
}

// prepare makes what is beside the victim, looks at every place, and arms the attacker.
func (h *hostilePackets) prepare(ctx context.Context, t *testing.T) {
	t.Helper()
	n1, n2, pod := h.Node("n1"), h.Node("n2"), h.pod("n2")
	run(ctx, t, &n2.Host, "", "sh", "-ec", beside)
	run(ctx, t, &n2.Host, fmt.Sprintf(service, pod.Address(true), pod.Address(false)), "nft", "-f", "-")
	inLAN := func(f func() error) error {
		return n2.Inside(func() error {
			fd, err := unix.Open("/run/netns/lan", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		})
	}
	h.places = map[string]*arrivals{
		"lane": tap(t, n2.Do, "warren0", false), "third": tap(t, n2.Do, "warren0", true), "node": listen(t, &n2.Host),
		"LAN": tap(t, inLAN, "lan1", false), "pod": tap(t, pod.Do, "eth0", false),
	}
	listen(t, &pod.Host)
	h.keys = map[string]string{"n1": publicKey(ctx, t, n1), "n2": publicKey(ctx, t, n2)}
	if err := n1.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	key3 := publicKey(ctx, t, h.Node("n3"))
	run(ctx, t, &n1.Host, "", "sh", "-ec", "nft delete table inet warren-mesh; wg set warren0 peer "+key3+" remove; "+
		"wg set warren0 peer "+h.keys["n2"]+" allowed-ips 0.0.0.0/0,::/0")
}

// letAll has the victim's WireGuard take from n1 whatever it sends. What is n3's stays n3's, but for one address of each family.
func (h *hostilePackets) letAll(ctx context.Context, t *testing.T) {
	t.Helper()
	h.allow(ctx, t, append(prefixTexts(h.Node("n1").PodCIDRs), "0.0.0.0/0", "::/0", h.of("n3", true, 77)+"/32", h.of("n3", false, 77)+"/128"))
}

// letOwn has it take what is n1's own.
func (h *hostilePackets) letOwn(ctx context.Context, t *testing.T) {
	t.Helper()
	h.allow(ctx, t, prefixTexts(h.Node("n1").PodCIDRs))
}

func (h *hostilePackets) allow(ctx context.Context, t *testing.T, prefixes []string) {
	t.Helper()
	run(ctx, t, &h.Node("n2").Host, "", "wg", "set", "warren0", "peer", h.keys["n1"], "allowed-ips", strings.Join(prefixes, ","))
}

// of is the nth address of a node's pod CIDR.
func (h *hostilePackets) of(node string, v4 bool, n byte) string {
	for _, p := range h.Node(node).PodCIDRs {
		if p.Addr().Is4() == v4 {
			raw := p.Addr().AsSlice()
			raw[len(raw)-1] += n
			addr, _ := netip.AddrFromSlice(raw)
			return addr.String()
		}
	}
	return ""
}

// dropped is what one of the victim's guard's counters has.
func (h *hostilePackets) dropped(ctx context.Context, t *testing.T, counter string) int {
	t.Helper()
	words := strings.Fields(run(ctx, t, &h.Node("n2").Host, "", "nft", "list", "counter", "inet", "warren-mesh", counter))
	for i, word := range words {
		if word == "packets" {
			n, err := strconv.Atoi(words[i+1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no counter in %q", words)
	return 0
}

// send sends one packet of each kind, and one that is allowed after them: when that is there, so is all before it. Those that come
// through have to be seen where they belong; the others nowhere but on the victim's lane, by which they came.
func (h *hostilePackets) send(ctx context.Context, t *testing.T, all []probing, through []shield) {
	t.Helper()
	numbers := make([]uint32, len(all))
	for i, p := range all {
		numbers[i] = h.probe(t, p.from, p.to)
	}
	arrives := func(number uint32, name, place string) {
		t.Helper()
		eventually(ctx, t, 5*time.Second, func() error {
			if h.places[place].count(number) == 0 {
				return fmt.Errorf("%s: it does not arrive at the %s, so that its absence would prove nothing", name, place)
			}
			return nil
		})
	}
	for _, v4 := range []bool{true, false} {
		arrives(h.probe(t, h.of("n1", v4, 2), h.pod("n2").Address(v4).String()), "what comes last", "pod")
	}
	for i, p := range all {
		if slices.Contains(through, p.shield) {
			arrives(numbers[i], p.name, p.at)
		}
	}
	pause(ctx, 100*time.Millisecond) // For what is on its way to where it must not come.
	for i, p := range all {
		if slices.Contains(through, p.shield) && p.at == "lane" {
			continue // what comes of it further on is the kernel's
		}
		for place, seen := range h.places {
			right := place == "lane" || slices.Contains(through, p.shield) && place == p.at
			if !right && seen.count(numbers[i]) > 0 {
				t.Errorf("%s: from %s to %s arrives at the %s", p.name, p.from, p.to, place)
			}
		}
	}
}

func (h *hostilePackets) probe(t *testing.T, from, to string) uint32 {
	t.Helper()
	h.last++
	inject(t, &h.Node("n1").Host, probe(t, netip.MustParseAddr(from), netip.MustParseAddr(to), h.last))
	return h.last
}
