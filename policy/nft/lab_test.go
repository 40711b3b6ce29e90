package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/policy"
)

// host is another machine, with an address of each family.
type host struct {
	*nfttest.Host
	v4, v6 netip.Addr
}

func newHost(t *testing.T, v4, v6 string) *host {
	t.Helper()
	return &host{nfttest.NewHost(t, quiet), addr(v4), addr(v6)}
}

// quiet lets nothing but the policy drop packets.
const quiet = `sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0 \
	net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0`

func (h *host) to(f policy.SetKind) netip.Addr {
	if f == policy.Addresses4 {
		return h.v4
	}
	return h.v6
}

// serve echoes on TCP and UDP ports of every address of the host.
func (h *host) serve(ports ...int) {
	h.T.Helper()
	err := h.Within(func() error {
		for _, port := range ports {
			l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
			if err != nil {
				return err
			}
			h.T.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go echo(c)
				}
			}()
			for _, a := range []netip.Addr{h.v4, h.v6} { // bound, so that an answer comes from where the question went
				u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(port))))
				if err != nil {
					return err
				}
				h.T.Cleanup(func() { _ = u.Close() })
				go echoPackets(u)
			}
		}
		return nil
	})
	if err != nil {
		h.T.Fatal(err)
	}
}

func echo(c net.Conn) {
	defer func() { _ = c.Close() }()
	buf := make([]byte, 1500)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func echoPackets(u *net.UDPConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := u.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		_, _ = u.WriteToUDPAddrPort(buf[:n], from)
	}
}

// patience is how long something may take that nobody drops.
const patience = 300 * time.Millisecond

// reaches says whether an answer comes; port is "tcp 80", "udp 53" or "icmp".
func (h *host) reaches(to netip.Addr, port string) bool {
	protocol, number, _ := strings.Cut(port, " ")
	if protocol == "icmp" {
		_, err := h.Try(fmt.Sprintf("ping -n -c 1 -W 0.3 %s", to))
		return err == nil
	}
	return h.Within(func() error { return ask(protocol, net.JoinHostPort(to.String(), number)) }) == nil
}

func ask(protocol, where string) error {
	c, err := net.DialTimeout(protocol, where, patience)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return answer(c, "hello")
}

// answer sends a word and waits for it to come back.
func answer(c net.Conn, word string) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(word)); err != nil {
		return err
	}
	buf := make([]byte, len(word))
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	if string(buf[:n]) != word {
		return errors.New("something else came back")
	}
	return nil
}

// lab is a node in the test's own namespace, with pods a, b and c, a peer's pod behind a lane, and the world. The lane is a plain veth.
type lab struct {
	t     *testing.T
	hosts map[string]*host
}

const (
	ifA, ifB, ifC = "wrp00000000000a", "wrp00000000000b", "wrp00000000000c"
	node4, node6  = "192.168.7.1", "2001:db8:7::1"
)

func build(t *testing.T) *lab {
	t.Helper()
	return buildLinks(t, map[string]string{"a": ifA, "b": ifB, "c": ifC})
}

// buildLinks is build with these links to the pods.
func buildLinks(t *testing.T, links map[string]string) *lab {
	t.Helper()
	namespace(t)
	run(t, quiet+"; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	l := &lab{t: t, hosts: map[string]*host{
		"a": newHost(t, "10.244.1.5", "fd00:244:0:1::5"), "b": newHost(t, "10.244.1.6", "fd00:244:0:1::6"), "c": newHost(t, "10.244.1.7", "fd00:244:0:1::7"),
		"peer": newHost(t, "10.244.2.7", "fd00:244:0:2::7"), "world": newHost(t, "192.168.7.2", "2001:db8:7::2"),
	}}
	for name, link := range links {
		h := l.hosts[name]
		run(t, "ip link add %s type veth peer name eth0 netns %d; ip link set %s up; ip addr add 169.254.1.1/32 dev %s; ip addr add fe80::1/64 dev %s", link, h.PID, link, link, link)
		h.Run("ip link set eth0 up; ip addr add %s/32 dev eth0; ip addr add %s/128 dev eth0 nodad; ip route add 169.254.1.1 dev eth0; ip route add default via 169.254.1.1; ip route add default via fe80::1 dev eth0", h.v4, h.v6)
		run(t, "ip route add %s dev %s; ip route add %s dev %s", h.v4, link, h.v6, link)
	}
	peer := l.hosts["peer"]
	run(t, "ip link add warren0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:01 netns %d; ip link set warren0 arp off up", peer.PID)
	run(t, "ip addr add 10.244.1.1/32 dev warren0; ip addr add fd00:244:0:1::1/128 dev warren0; ip route add 10.244.2.0/24 dev warren0; ip route add fd00:244:0:2::/64 dev warren0")
	peer.Run("ip link set eth0 arp off up; ip addr add %s/32 dev eth0; ip addr add %s/128 dev eth0 nodad; ip route add default dev eth0; ip -6 route add default dev eth0", peer.v4, peer.v6)
	world := l.hosts["world"]
	run(t, "ip link add eth0 type veth peer name eth0 netns %d; ip link set eth0 up; ip addr add %s/24 dev eth0; ip addr add %s/64 dev eth0 nodad", world.PID, node4, node6)
	world.Run("ip link set eth0 up; ip addr add %s/24 dev eth0; ip addr add %s/64 dev eth0 nodad; ip route add default via %s; ip route add default via %s", world.v4, world.v6, node4, node6)
	for _, h := range l.hosts {
		h.serve(80, 81, 82)
	}
	return l
}

// passes says whether "a>b tcp 80" gets an answer. The node is a host too.
func (l *lab) passes(f policy.SetKind, probe string) bool {
	l.t.Helper()
	ends, port, _ := strings.Cut(probe, " ")
	from, to, _ := strings.Cut(ends, ">")
	target := addr(node4)
	if f == policy.Addresses6 {
		target = addr(node6)
	}
	if h, ok := l.hosts[to]; ok {
		target = h.to(f)
	}
	if h, ok := l.hosts[from]; ok {
		return h.reaches(target, port)
	}
	protocol, number, _ := strings.Cut(port, " ")
	return ask(protocol, net.JoinHostPort(target.String(), number)) == nil
}

// node is the test's own namespace, as a host.
func (l *lab) node() *host {
	return &host{&nfttest.Host{T: l.t, PID: unix.Gettid()}, addr(node4), addr(node6)}
}
