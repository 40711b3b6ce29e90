package lab

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// bare is a lab of namespaces and cables only.
func bare(nodes int, families Families) Options {
	return Options{Nodes: nodes, PodFamilies: Dual, UnderlayFamilies: families, NoControlPlane: true}
}

func TestUnderlay(t *testing.T) {
	for _, families := range []Families{IPv4, IPv6, Dual} {
		t.Run(string(families), func(t *testing.T) {
			l := New(t, bare(3, families))
			hosts := append(NodeHosts(l.Nodes()), l.Switch())
			count, err := Matrix(t.Context(), NodeHosts(l.Nodes()), Addresses(hosts), ByPing)
			if err != nil {
				t.Error(err)
			}
			want := 3 * 3
			if families == Dual {
				want *= 2
			}
			if count != want {
				t.Errorf("%d pairs were checked, want %d", count, want)
			}
			if _, err := Matrix(t.Context(), NodeHosts(l.Nodes()), Addresses(NodeHosts(l.Nodes())), ByTCP, ByUDP); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNodeIsLikeANode(t *testing.T) {
	l := New(t, bare(2, IPv4))
	n := l.Node("n1")
	for command, want := range map[string]string{
		"hostname":                            "n1\n",
		"ip -4 route show default":            "default via 172.30.0.1 dev eth0 \n",
		"ip -6 route show default":            "default via fe80::30:1 dev eth0 metric 1024 pref medium\n",
		"cat /proc/sys/net/ipv4/ip_forward":   "1\n",
		"stat -f -c %T /run":                  "tmpfs\n",
		"find /var/lib/warren /run/wireguard": "/var/lib/warren\n",
	} {
		args := strings.Fields(command)
		out, err := n.Run(t.Context(), args[0], args[1:]...)
		if err != nil && args[0] != "find" { // which does not find /run/wireguard
			t.Error(err)
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", command, diff)
		}
	}
	if _, err := n.Run(t.Context(), "touch", "/var/lib/warren/mine", "/run/mine"); err != nil {
		t.Fatal(err)
	}
	if out, err := l.Node("n2").Run(t.Context(), "ls", "/var/lib/warren", "/run"); err != nil || strings.Contains(out, "mine") {
		t.Errorf("n2 sees n1's files: %s %v", out, err)
	}
	for _, path := range []string{"/var/lib/warren/mine", "/run/mine"} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the machine sees n1's %s: %v", path, err)
		}
	}
}

func TestCutAndHeal(t *testing.T) {
	l := New(t, bare(2, Dual))
	n1, n2 := l.Node("n1"), l.Node("n2")
	stream, err := n1.Stream(t.Context(), n2.Address(true), 5*time.Millisecond, 100)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "datagrams come back", func() bool { return stream.Received() > 10 })
	if err := l.Cut(n2); err != nil {
		t.Fatal(err)
	}
	for _, addr := range n2.Addresses {
		if err := n1.Ping(t.Context(), addr, PingOptions{Timeout: 200 * time.Millisecond}); err == nil {
			t.Errorf("%s answers though it is cut off", addr)
		}
	}
	if err := l.Heal(n2); err != nil {
		t.Fatal(err)
	}
	before := stream.Received()
	await(t, "datagrams come back again", func() bool { return stream.Received() > before+10 })
	result := stream.Stop()
	if result.Lost == 0 || result.LongestGap < 200*time.Millisecond {
		t.Errorf("the stream saw nothing of the cut: %s", result)
	}
	if _, err := Matrix(t.Context(), NodeHosts(l.Nodes()), Addresses(NodeHosts(l.Nodes())), ByPing); err != nil {
		t.Error(err)
	}
}

func TestReAddressAndMTU(t *testing.T) {
	l := New(t, bare(2, Dual))
	n1, n2 := l.Node("n1"), l.Node("n2")
	old := n2.Addresses
	fresh := Dual.underlayAddresses(99)
	if err := l.SetUnderlayAddress(n2, fresh...); err != nil {
		t.Fatal(err)
	}
	for i, addr := range fresh {
		if err := n1.Ping(t.Context(), addr, PingOptions{}); err != nil {
			t.Error(err)
		}
		if err := n1.Ping(t.Context(), old[i], PingOptions{Timeout: 200 * time.Millisecond}); err == nil {
			t.Errorf("%s answers still", old[i])
		}
	}
	out, err := n2.Run(t.Context(), "ip", "-4", "route", "show", "default")
	if err != nil || out != "default via 172.30.0.1 dev eth0 \n" {
		t.Errorf("default route %q %v", out, err)
	}
	if err := l.SetUnderlayMTU(1400); err != nil {
		t.Fatal(err)
	}
	err = n1.Ping(t.Context(), fresh[0], PingOptions{Size: 1400, DontFragment: true})
	if !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a packet of 1428 bytes over an MTU of 1400: %v, want EMSGSIZE", err)
	}
	for _, addr := range fresh {
		if err := n1.Ping(t.Context(), addr, PingOptions{Size: 3000}); err != nil {
			t.Errorf("in fragments: %v", err)
		}
	}
}

func TestPods(t *testing.T) {
	l := New(t, bare(2, IPv4))
	n1 := l.Node("n1")
	p1, p2 := addPod(t, n1, "p1"), addPod(t, n1, "p2")
	if diff := cmp.Diff("10.244.1.2, fd00:10:244:1::2; 10.244.1.3, fd00:10:244:1::3", join(p1.Addresses)+"; "+join(p2.Addresses)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if _, err := Matrix(t.Context(), PodHosts(l.Pods()), Addresses(PodHosts(l.Pods())), ByPing, ByTCP, ByUDP); err != nil {
		t.Error(err)
	}
	out, err := p1.Run(t.Context(), "hostname")
	if err != nil || out != "p1\n" {
		t.Errorf("host name %q %v", out, err)
	}
	if err := p2.Remove(); err != nil {
		t.Error(err)
	}
	if err := p1.Ping(t.Context(), p2.Addresses[0], PingOptions{Timeout: 200 * time.Millisecond}); err == nil {
		t.Error("a pod that was removed answers")
	}
}

func TestAddAndDeleteNode(t *testing.T) {
	l := New(t, bare(2, IPv4))
	n3, err := l.AddNode(t.Context())
	if err != nil || n3.Name != "n3" {
		t.Fatal(n3, err)
	}
	addPod(t, n3, "p1")
	orphan := n3.Command(context.WithoutCancel(t.Context()), "sleep", "1000")
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteNode(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	if err := orphan.Wait(); err == nil {
		t.Error("a process of the node outlives it")
	}
	if l.Node("n3") != nil {
		t.Error("the node is listed still")
	}
	if err := l.Node("n1").Ping(t.Context(), n3.Addresses[0], PingOptions{Timeout: 200 * time.Millisecond}); err == nil {
		t.Error("the node answers still")
	}
}

func TestSnapshot(t *testing.T) {
	l := New(t, bare(1, Dual))
	n := l.Node("n1")
	take := func() string {
		text, err := l.Snapshot(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	before := take()
	for do, undo := range map[string]string{
		"ip link add x type veth peer name y":        "ip link del x",
		"ip address add 192.0.2.1/32 dev lo":         "ip address del 192.0.2.1/32 dev lo",
		"ip -6 route add 2001:db8::/32 dev eth0":     "ip -6 route del 2001:db8::/32 dev eth0",
		"ip rule add from 192.0.2.1 lookup 77":       "ip rule del from 192.0.2.1 lookup 77",
		"nft add table inet x":                       "nft delete table inet x",
		"touch /var/lib/warren/x":                    "rm /var/lib/warren/x",
		"mkdir -p /run/warren/x":                     "rm -r /run/warren",
		"ip route add 192.0.2.0/24 dev lo table 777": "ip route del 192.0.2.0/24 table 777",
	} {
		shell(t, n, do)
		if take() == before {
			t.Errorf("%s: the snapshot is the same", do)
		}
		shell(t, n, undo)
		if diff := cmp.Diff(before, take()); diff != "" {
			t.Errorf("%s, undone (-before +after):\n%s", do, diff)
		}
	}
}

func shell(t *testing.T, n *Node, command string) {
	t.Helper()
	if _, err := n.Run(t.Context(), "sh", "-c", command); err != nil {
		t.Fatal(err)
	}
}

func addPod(t *testing.T, n *Node, name string) *Pod {
	t.Helper()
	p, err := n.AddPod(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so after 10 s that %s", what)
		}
	}
}
