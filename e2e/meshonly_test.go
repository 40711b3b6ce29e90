package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/cni/install"
)

// othersConflist is the configuration of a cluster whose pods another plugin owns, with Warren's as a gate behind it. The first plugin and
// the node's ranges are to be filled in; the leases are in a folder of the node's own.
const othersConflist = `{
  "cniVersion": "1.0.0", "name": "theirs", "plugins": [
    {%s, "mtu": 1420, "ipam": {"type": "host-local", "dataDir": %q, "ranges": [%s], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
    {"type": "warren-cni", "gate": true}
  ]
}`

// othersPlugins are the ways in which others connect pods: Flannel's and kindnet's.
var othersPlugins = map[string]string{
	"bridge": `"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true`,
	"ptp":    `"type": "ptp"`,
}

// othersScene is three nodes whose pods are another plugin's.
func othersScene(ctx context.Context, t *testing.T, plugin string) *scene {
	t.Helper()
	dir := references(ctx, t, "bridge", "ptp", "host-local")
	s := bareScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual, AgentArgs: []string{"--mode=mesh"}})
	for _, n := range s.Nodes() {
		installPlugins(t, dir, n, "bridge", "ptp", "host-local")
		configureOthers(t, n, othersPlugins[plugin], prefixTexts(n.PodCIDRs)...)
	}
	return s
}

// configureOthers is what the other plugin's own installation writes.
func configureOthers(t *testing.T, n *lab.Node, plugin string, subnets ...string) {
	t.Helper()
	var ranges []string
	for _, subnet := range subnets {
		ranges = append(ranges, fmt.Sprintf(`[{"subnet": %q}]`, subnet))
	}
	text := fmt.Sprintf(othersConflist, plugin, filepath.Join(filepath.Dir(n.CNIConfDir()), "leases"), strings.Join(ranges, ", "))
	if err := errors.Join(os.MkdirAll(n.CNIConfDir(), 0o755), os.WriteFile(filepath.Join(n.CNIConfDir(), "20-theirs.conflist"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestMeshOnly: beside another plugin that gives pods their network, Warren carries what they send to other nodes, encrypted or not at all.
func TestMeshOnly(t *testing.T) {
	for plugin := range othersPlugins {
		t.Run(plugin, func(t *testing.T) { testMeshOnly(t, plugin) })
	}
}

func testMeshOnly(t *testing.T, plugin string) {
	ctx := testContext(t)
	s := othersScene(ctx, t, plugin)
	n2 := s.Node("n2")
	// What an agent in another mode left would have the place of theirs.
	if _, err := install.Conflist(n2.CNIConfDir(), "", "/run/warren/agent.sock", false); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
	}
	for _, n := range s.Nodes() {
		for _, name := range []string{"p1", "p2"} {
			if p := s.addPod(ctx, t, n, name); !n.PodCIDRs[0].Contains(p.Address(true)) {
				t.Errorf("pod %s/%s has %s, which is not of its node's %s", n.Name, name, p.Addresses, n.PodCIDRs)
			}
		}
		if left, err := filepath.Glob(filepath.Join(n.CNIConfDir(), "*warren*")); err != nil || len(left) > 0 {
			t.Errorf("%s: %q is there (%v)", n.Name, left, err)
		}
	}
	s.meshed(ctx, t)
	podsConnect(ctx, t, s)
	servicesReachPods(ctx, t, s)
	pods, nodes := lab.PodHosts(s.Pods()), lab.NodeHosts(s.Nodes())
	if _, err := lab.Matrix(ctx, pods, lab.Addresses(nodes), lab.ByPing, lab.ByTCP); err != nil {
		t.Errorf("pods to nodes: %v", err)
	}
	status, err := n2.Run(ctx, "warren", "status")
	if want := "mode: mesh, for another plugin's pods on cni0, veth*; policy is not enforced"; err != nil || !strings.Contains(status, want) {
		t.Errorf("%v: want %q:\n%s", err, want, status)
	}
	othersSpoof(ctx, t, s)

	// While the agent is away and where it has died packets pass, and no pod starts.
	stream := s.stream(ctx, t, "n1", "n2")
	if err := n2.KillAgent(); err != nil {
		t.Fatal(err)
	}
	gated(ctx, t, n2, "gated", "the agent gives no answer")
	if err := s.Node("n2").Pod("p2").Remove(); err != nil {
		t.Errorf("DEL without the agent: %v", err)
	}
	s.startAgent(ctx, t, n2)
	s.addPod(ctx, t, n2, "p3")
	if result := stream.Stop(); result.Lost != 0 || result.Sent == 0 {
		t.Errorf("an agent that was killed and came back: %s, want none lost", result)
	}
	s.meshed(ctx, t)

	// Without its peer nothing of a pod leaves.
	run(ctx, t, &n2.Host, "", "ip", "link", "set", "warren0", "down")
	_, _ = lab.Matrix(ctx, []*lab.Host{&s.pod("n2").Host}, s.pod("n1").Addresses, quickPing)
	s.meshed(ctx, t)
	s.sealed(ctx, t)
	othersInjected(ctx, t, s)
}

// gated wants a pod not to start on a node yet, for this reason.
func gated(ctx context.Context, t *testing.T, n *lab.Node, name, why string) {
	t.Helper()
	var later *types.Error
	_, err := n.AddPodLike(ctx, lab.PodOptions{Name: name, Once: true})
	if !errors.As(err, &later) || later.Code != types.ErrTryAgainLater || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v; want it to wait, and to be told %q", n.Name, err, why)
	}
}

// othersSpoof has a pod send under another node's pod's address: nothing of it comes further than its own node.
func othersSpoof(ctx context.Context, t *testing.T, s *scene) {
	t.Helper()
	from, to := s.pod("n1"), s.pod("n3")
	seen := tap(t, to.Do, "eth0", false)
	for i, v4 := range []bool{true, false} {
		dropped := droppedBy(ctx, t, s.Node("n1"), "warren-mesh", "podspoof")
		gateway := s.Node("n1").MeshAddresses[i]
		if err := from.Ping(ctx, gateway, lab.PingOptions{Timeout: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		via := run(ctx, t, &from.Host, "", "sh", "-c", "ip -o neighbour show to "+gateway.String()+" dev eth0 | grep -o 'lladdr [0-9a-f:]*'")
		send := func(source netip.Addr, number uint32) {
			injectTo(t, &from.Host, strings.TrimSpace(strings.TrimPrefix(via, "lladdr ")), probe(t, source, to.Address(v4), number))
		}
		send(s.pod("n2").Address(v4), uint32(10+i))
		send(from.Address(v4), uint32(20+i))
		eventually(ctx, t, 5*time.Second, func() error {
			if seen.count(uint32(20+i)) == 0 {
				return errors.New("what a pod sends under its own address does not arrive, so that the other's absence would prove nothing")
			}
			return nil
		})
		if n := droppedBy(ctx, t, s.Node("n1"), "warren-mesh", "podspoof"); seen.count(uint32(10+i)) > 0 || n == dropped {
			t.Errorf("under %s: %d arrived, %d dropped", s.pod("n2").Address(v4), seen.count(uint32(10+i)), n-dropped)
		}
	}
}

// othersInjected has somebody on the underlay send under pods' addresses: of another node, and of the node itself.
func othersInjected(ctx context.Context, t *testing.T, s *scene) {
	t.Helper()
	n2, to := s.Node("n2"), s.pod("n2")
	mac := strings.TrimSpace(strings.TrimPrefix(run(ctx, t, &n2.Host, "", "sh", "-c", "ip link show eth0 | grep -o 'ether [0-9a-f:]*'"), "ether "))
	seen := tap(t, to.Do, "eth0", false)
	number := uint32(100)
	for i, v4 := range []bool{true, false} {
		world := netip.MustParseAddr("2001:db8:9::9")
		if v4 {
			world = netip.MustParseAddr("203.0.113.9")
		}
		before := droppedBy(ctx, t, n2, "warren-mesh", "foreign")
		forged := []netip.Addr{s.pod("n1").Address(v4), n2.Pod("p3").Address(v4), to.Address(v4), n2.MeshAddresses[i]}
		first := number
		for _, from := range append(forged, world) {
			injectTo(t, &s.Node("n3").Host, mac, probe(t, from, to.Address(v4), number))
			number++
		}
		eventually(ctx, t, 5*time.Second, func() error {
			if seen.count(number-1) == 0 {
				return errors.New("what comes from outside the cluster does not arrive, so that the others' absence would prove nothing")
			}
			return nil
		})
		for at, from := range forged {
			if seen.count(first+uint32(at)) > 0 {
				t.Errorf("what the underlay sends under %s arrives at the pod", from)
			}
		}
		if n := droppedBy(ctx, t, n2, "warren-mesh", "foreign") - before; n < len(forged) {
			t.Errorf("%d dropped as foreign, want %d", n, len(forged))
		}
	}
}

// injectTo hands a packet to a host's eth0 as it is, for a hardware address.
func injectTo(t *testing.T, h *lab.Host, mac string, packet []byte) {
	t.Helper()
	err := h.Do(func() error {
		to, err := net.ParseMAC(mac)
		if err != nil {
			return err
		}
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		protocol := uint16(unix.ETH_P_IPV6)
		if packet[0]>>4 == 4 {
			protocol = unix.ETH_P_IP
		}
		address := &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: bits.ReverseBytes16(protocol), Halen: uint8(len(to))}
		copy(address.Addr[:], to)
		return errors.Join(unix.Sendto(fd, packet, 0, address), unix.Close(fd))
	})
	if err != nil {
		t.Fatalf("injecting a packet: %v", err)
	}
}

// droppedBy is what a counter of one of a node's tables has.
func droppedBy(ctx context.Context, t *testing.T, n *lab.Node, table, counter string) (packets int) {
	t.Helper()
	text := run(ctx, t, &n.Host, "", "nft", "list", "counter", "inet", table, counter)
	_, rest, _ := strings.Cut(text, "packets ")
	if _, err := fmt.Sscanf(rest, "%d", &packets); err != nil {
		t.Fatalf("no counter in %q", text)
	}
	return packets
}

// TestMeshOnlyGate: no pod starts before the guard stands, with an address that is not the node's to give, or by a link of which the guard
// does not know; and the runtime is told why.
func TestMeshOnlyGate(t *testing.T) {
	ctx := testContext(t)
	s := othersScene(ctx, t, "ptp")
	n1, n2 := s.Node("n1"), s.Node("n2")
	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
		s.addPod(ctx, t, n, "p1")
	}
	s.meshed(ctx, t)

	configureOthers(t, n1, othersPlugins["ptp"], "10.244.77.0/24")
	gated(ctx, t, n1, "gated", "10.244.77.2 is in none of the node's pod CIDRs")
	configureOthers(t, n1, strings.Replace(othersPlugins["bridge"], "cni0", "br-pods", 1), prefixTexts(n1.PodCIDRs)...)
	gated(ctx, t, n1, "gated", "link br-pods, which is not among --pod-interfaces")
	run(ctx, t, &n1.Host, "", "ip", "link", "delete", "br-pods")
	configureOthers(t, n1, othersPlugins["ptp"], prefixTexts(n1.PodCIDRs)...)
	s.addPod(ctx, t, n1, "p2")

	// A node that knows nothing yet, as one that has just booted.
	if err := n2.KillAgent(); err != nil {
		t.Fatal(err)
	}
	if err := s.Cluster().StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := s.pod("n2").Remove(); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, &n2.Host, "", "sh", "-ec", "nft delete table inet warren-mesh; ip link delete warren0; rm /var/lib/warren/plan")
	if err := n2.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error {
		_, err := n2.Run(ctx, "warren", "plan")
		return err
	})
	gated(ctx, t, n2, "p1-n2", "the mesh is not programmed yet")
	if err := s.Cluster().StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	s.addPod(ctx, t, n2, "p1")
	s.meshed(ctx, t)
	s.sealed(ctx, t)
}

// TestMeshOnlyMisled: the node's way to the world among the pods' links would let everything out in clear. Nothing is started; and where it
// becomes one of them later, the guard takes it for what it is.
func TestMeshOnlyMisled(t *testing.T) {
	ctx := testContext(t)
	s := othersScene(ctx, t, "ptp")
	n1 := s.Node("n1")
	cmd := n1.Command(ctx, "warrend", "--node-name", "n1", "--kubeconfig", "/nowhere", "--cluster-cidr", "10.244.0.0/16", "--mode=mesh", "--pod-interfaces=eth*")
	out, err := cmd.CombinedOutput()
	if want := "because of --pod-interfaces: link eth0 is among"; err == nil || !bytes.Contains(out, []byte(want)) {
		t.Errorf("%v: want %q:\n%s", err, want, out)
	}
	if got := run(ctx, t, &n1.Host, "", "nft", "list", "tables"); strings.Contains(got, "warren") {
		t.Errorf("it made tables: %s", got)
	}
	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
		s.addPod(ctx, t, n, "p1")
	}
	s.meshed(ctx, t)
	run(ctx, t, &n1.Host, "", "sh", "-ec", "ip link add vethworld type veth peer name out; ip link set vethworld up; ip link set out up; ip address add 192.0.2.1/24 dev vethworld")
	eventually(ctx, t, 10*time.Second, func() error { return saysProblem(ctx, n1, "link vethworld is among") })
	if got := run(ctx, t, &n1.Host, "", "nft", "list", "chain", "inet", "warren-mesh", "egress"); strings.Contains(got, "veth*") || !strings.Contains(got, "cni0") {
		t.Errorf("what may leave by veths is not looked at:\n%s", got)
	}
	run(ctx, t, &n1.Host, "", "ip", "link", "delete", "vethworld")
	s.meshed(ctx, t)
	if err := n1.WaitReady(ctx); err != nil {
		t.Error(err)
	}
	s.sealed(ctx, t)
}
