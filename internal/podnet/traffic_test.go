package podnet

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"testing"
	"time"
)

func openNamespaceUnchecked() (*Sandbox, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	return &Sandbox{file}, err
}

func TestPodsTalk(t *testing.T) {
	node(t)
	a := newPod(t, "a", "10.244.0.5", "fd00:10:244::5")
	b := newPod(t, "b", "10.244.0.6", "fd00:10:244::6")
	a.attach(t)
	b.attach(t)
	for _, to := range []string{"10.244.0.6", "fd00:10:244::6", "192.0.2.1", "2001:db8::1"} {
		run(t, a.in("ping -c3 -i0.01 -W1 "+to))
		run(t, a.in("ping -c3 -i0.01 -W1 -s 20000 "+to)) // in fragments
	}
	for _, to := range []string{"10.244.0.5", "fd00:10:244::6"} {
		run(t, "ping -c3 -i0.01 -W1 "+to)
		run(t, "ping -c3 -i0.01 -W1 -s 20000 "+to)
	}
	run(t, a.in("ping -c1 -W1 -M do -s 1372 10.244.0.6"))
	run(t, a.in("ping -c1 -W1 -M do -s 1352 fd00:10:244::6"))
	for _, addr := range b.Addresses {
		const size = 32 << 20
		if n, err := transfer(a.Sandbox, b.Sandbox, addr, size); n != size || err != nil {
			t.Errorf("TCP to %s: %d of %d bytes, error %v", addr, n, size, err)
		}
		if n, err := transfer(openOwn(t), b.Sandbox, addr, size); n != size || err != nil {
			t.Errorf("TCP from the node to %s: %d of %d bytes, error %v", addr, n, size, err)
		}
	}
}

// transfer sends bytes by TCP from one namespace to an address in another, and says how many arrived.
func transfer(from, to *Sandbox, addr netip.Addr, size int64) (n int64, err error) {
	var listener net.Listener
	if err := to.do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	}); err != nil {
		return 0, err
	}
	defer listener.Close()
	sent := make(chan error, 1)
	go func() {
		sent <- from.do(func() error {
			conn, err := net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
			if err != nil {
				listener.Close()
				return err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, err = conn.Write(make([]byte, size))
			return err
		})
	}()
	conn, err := listener.Accept()
	if err != nil {
		return 0, fmt.Errorf("accepting: %w, connecting: %w", err, <-sent)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	n, err = io.Copy(io.Discard, conn)
	if err == nil {
		err = <-sent
	}
	return n, err
}

// The very first packet after Attach arrives and is answered, in either direction, with nobody having been asked for a MAC.
func TestFirstPacket(t *testing.T) {
	node(t)
	own := openOwn(t)
	nodeAddress := map[bool]string{true: "192.0.2.1", false: "2001:db8::1"}
	for i := range 20 {
		addr := netip.MustParseAddr(fmt.Sprintf("10.244.0.%d", 10+i))
		if i%2 == 1 {
			addr = netip.MustParseAddr(fmt.Sprintf("fd00:10:244::%x", 10+i))
		}
		p := newPod(t, fmt.Sprintf("web-%d", i), addr.String())
		inPod, inNode := listen(t, p.Sandbox), listen(t, own)
		p.attach(t)
		start := time.Now()
		if i%4 < 2 {
			exchange(t, inNode, inPod, addr.String())
		} else {
			exchange(t, inPod, inNode, nodeAddress[addr.Is4()])
		}
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("%s: answered after %v", addr, d)
		}
	}
}

func listen(t *testing.T, n *Sandbox) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	if err := n.do(func() (err error) { conn, err = net.ListenUDP("udp", nil); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * time.Second))
	return conn
}

// exchange sends one datagram and gets one back.
func exchange(t *testing.T, from, to *net.UDPConn, addr string) {
	t.Helper()
	target := netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(to.LocalAddr().(*net.UDPAddr).Port))
	buffer := make([]byte, 16)
	if _, err := from.WriteToUDPAddrPort([]byte("ping"), target); err != nil {
		t.Errorf("sending to %s: %v", target, err)
		return
	}
	n, sender, err := to.ReadFromUDPAddrPort(buffer)
	if err != nil || string(buffer[:n]) != "ping" {
		t.Errorf("receiving at %s: %q, %v", target, buffer[:n], err)
		return
	}
	if _, err := to.WriteToUDPAddrPort([]byte("pong"), sender); err != nil {
		t.Errorf("answering %s: %v", sender, err)
		return
	}
	if n, err := from.Read(buffer); err != nil || string(buffer[:n]) != "pong" {
		t.Errorf("receiving the answer from %s: %q, %v", target, buffer[:n], err)
	}
}

// The node's ICMP errors reach the pod, also where the node has no IPv6 address but the gateway's.
func TestErrorsReachThePod(t *testing.T) {
	node(t)
	run(t, "ip -6 addr flush dev uplink")
	run(t, "ip route add unreachable 198.51.100.0/24")
	run(t, "ip -6 route add unreachable 2001:db8:99::/64")
	p := newPod(t, "web", "10.244.0.5", "fd00:10:244::5")
	p.attach(t)
	for to, want := range map[string]string{
		"198.51.100.1":   `From 192\.0\.2\.1 icmp_seq=1 Destination Host Unreachable`,
		"2001:db8:99::1": `From fe80::1(%eth0)? icmp_seq=1 Destination unreachable: (No route|Address unreachable)`,
	} {
		out, err := try(p.in("ping -n -c1 -W2 " + to))
		if err == nil || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("ping %s: %v\n%s\nwant %s", to, err, out, want)
		}
	}
}

func TestOneFamilyOnly(t *testing.T) {
	for _, tt := range []struct{ name, disable, addr, node string }{
		{"IPv4, the node without IPv6", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", "10.244.0.5", "192.0.2.1"},
		{"IPv6, the node without IPv4", "ip -4 addr flush dev uplink", "fd00:10:244::5", "2001:db8::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			node(t)
			run(t, tt.disable)
			p := newPod(t, "web", tt.addr)
			r := p.attach(t)
			run(t, "ping -c1 -W1 "+tt.addr)
			run(t, p.in("ping -c1 -W1 "+tt.node))
			if got := run(t, "ip -6 addr show dev "+r.HostLink); tt.addr == "10.244.0.5" && got != "" {
				t.Errorf("the host's end has an IPv6 address: %s", got)
			}
		})
	}
	t.Run("IPv6, disabled by the pod's runtime and in the node's defaults", func(t *testing.T) {
		node(t)
		run(t, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
		p := newPod(t, "web", "fd00:10:244::5")
		run(t, p.in("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"))
		p.attach(t)
		run(t, p.in("ping -c1 -W1 2001:db8::1"))
	})
}
