package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// flannel is one of Flannel's backends: what its agents leave in the kernel.
type flannel struct {
	links  map[bool]string // by whether they are for IPv4
	mtu    int             // of the bridge, for IPv4
	clear  bool            // what it carries is in clear
	routed bool            // it has a route for each node, and not one for all
	port   uint16          // Warren's, where Flannel has the usual one
	// lay gives the processes that carry what pods send: none where the kernel does.
	lay func(context.Context, *testing.T, []*lab.Node) []*os.Process
}

var (
	flannelVXLAN = flannel{
		links: vxlanLinks, mtu: 1450, clear: true, routed: true, lay: layVXLAN,
	}
	flannelWireGuard = flannel{links: wireGuardLinks, mtu: 1420, port: 51830, lay: layWireGuard}
	vxlanLinks       = map[bool]string{true: "flannel.1", false: "flannel-v6.1"}
	wireGuardLinks   = map[bool]string{true: "flannel-wg", false: "flannel-wg-v6"}
)

// flannelConflist is what Flannel's plugin makes of Flannel's configuration: the reference plugins, called so that nothing else is needed.
const flannelConflist = `{
  "cniVersion": "1.0.0", "name": "cbr0", "plugins": [{
    "type": "bridge", "bridge": "cni0", "mtu": %d, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
    "ipam": {"type": "host-local", "ranges": [%s], "routes": [{"dst": "10.244.0.0/16"}, {"dst": "fd00:10:244::/48"}]}
  }]
}`

// flannelScene is three nodes on Flannel's layout: its configuration, bridge, links and routes, as its agents leave them in the kernel; and the
// processes that carry what pods send.
func flannelScene(ctx context.Context, t *testing.T, backend flannel) (*scene, []*os.Process) {
	t.Helper()
	dir := references(ctx, t, "bridge", "host-local")
	s := bareScene(ctx, t, lab.Options{
		Nodes: 3, PodFamilies: lab.Dual, UnderlayFamilies: lab.Dual, StrictRPFilter: true, ListenPort: backend.port,
	})
	for _, n := range s.Nodes() {
		installPlugins(t, dir, n, "bridge", "host-local")
		var ranges []string
		for _, p := range n.PodCIDRs {
			ranges = append(ranges, fmt.Sprintf(`[{"subnet": %q}]`, p))
		}
		text := fmt.Sprintf(flannelConflist, backend.mtu, strings.Join(ranges, ", "))
		if err := errors.Join(os.MkdirAll(n.CNIConfDir(), 0o755), os.WriteFile(flannelFile(n), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		run(ctx, t, &n.Host, "", "sh", "-ec", masqueradeScript(n))
	}
	return s, backend.lay(ctx, t, s.Nodes())
}

func flannelFile(n *lab.Node) string { return filepath.Join(n.CNIConfDir(), "10-flannel.conflist") }

// flannelNetworks are the cluster's, by whether they are of IPv4.
var flannelNetworks = map[bool]string{true: "10.244.0.0/16", false: "fd00:10:244::/48"}

// masqueradeScript is what flanneld does on a node, whatever its backend.
func masqueradeScript(n *lab.Node) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	for _, own := range n.PodCIDRs {
		tables, multicast := "iptables", "224.0.0.0/4"
		if own.Addr().Is6() {
			tables, multicast = "ip6tables", "ff00::/8"
		}
		for _, rule := range []string{
			"-s %[1]s -d %[2]s -j RETURN", "-s %[2]s -d %[1]s -j RETURN", "! -s %[2]s -d %[1]s -j RETURN",
			"-s %[2]s ! -d %[3]s -j MASQUERADE --random-fully", "! -s %[2]s -d %[2]s -j MASQUERADE --random-fully",
		} {
			say("%s -t nat -A POSTROUTING %s", tables, fmt.Sprintf(rule+"%[4]s", own, flannelNetworks[own.Addr().Is4()], multicast, ""))
		}
	}
	return b.String()
}

func layVXLAN(ctx context.Context, t *testing.T, nodes []*lab.Node) []*os.Process {
	t.Helper()
	for _, n := range nodes {
		run(ctx, t, &n.Host, "", "sh", "-ec", vxlanScript(n, nodes))
	}
	return nil
}

// vxlanScript is what flanneld does on a node with this backend, for all nodes.
func vxlanScript(n *lab.Node, all []*lab.Node) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for i, own := range n.PodCIDRs {
		v4, nodad := own.Addr().Is4(), ""
		link := vxlanLinks[v4]
		if !v4 {
			nodad = "nodad"
		}
		say("ip link add %s address %s type vxlan id 1 dev eth0 local %s dstport 8472 nolearning", link, vtep(n, v4), n.Address(v4))
		say("ip address add %s dev %s %s", netip.PrefixFrom(own.Addr(), own.Addr().BitLen()), link, nodad)
		say("ip link set %s mtu %d up", link, 1500-map[bool]int{true: 50, false: 70}[v4])
		for _, other := range all {
			if other == n {
				continue
			}
			there := other.PodCIDRs[i]
			say("ip neigh add %s lladdr %s dev %s nud permanent", there.Addr(), vtep(other, v4), link)
			say("bridge fdb add %s dev %s dst %s", vtep(other, v4), link, other.Address(v4))
			say("ip route add %s via %s dev %s onlink", there, there.Addr(), link)
		}
	}
	return b.String()
}

// vtep is the hardware address of a node's vxlan link.
func vtep(n *lab.Node, v4 bool) string {
	a := n.Address(true).As4()
	return fmt.Sprintf("0e:0e:0e:0e:%02x:%02x", a[3], map[bool]int{true: 4, false: 6}[v4])
}

// layWireGuard makes a device for each family, as flanneld does by default, with one route for the whole network; the devices are in userspace, so that
// any kernel has them.
func layWireGuard(ctx context.Context, t *testing.T, nodes []*lab.Node) (processes []*os.Process) {
	t.Helper()
	ports := map[bool]int{true: 51820, false: 51821}
	for _, n := range nodes {
		run(ctx, t, &n.Host, "", "mkdir", "-m", "0755", "/var/run/wireguard")
		for _, own := range n.PodCIDRs {
			v4 := own.Addr().Is4()
			link := wireGuardLinks[v4]
			processes = append(processes, runDevice(ctx, t, n, link, ports[v4]))
			run(ctx, t, &n.Host, "", "sh", "-ec", fmt.Sprintf("ip address add %s dev %s nodad; ip link set %[2]s mtu 1420 up; ip route add %[3]s dev %[2]s",
				netip.PrefixFrom(own.Addr(), own.Addr().BitLen()), link, flannelNetworks[v4]))
		}
	}
	for _, n := range nodes {
		for _, other := range nodes {
			if other == n {
				continue
			}
			for _, there := range other.PodCIDRs {
				v4 := there.Addr().Is4()
				key := strings.TrimSpace(run(ctx, t, &other.Host, "", "wg", "show", wireGuardLinks[v4], "public-key"))
				run(ctx, t, &n.Host, "", "wg", "set", wireGuardLinks[v4], "peer", key, "allowed-ips", there.String(),
					"endpoint", netip.AddrPortFrom(other.Address(v4), uint16(ports[v4])).String())
			}
		}
	}
	return processes
}
