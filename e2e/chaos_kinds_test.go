package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// faultKind is something that happens to a real cluster.
type faultKind struct {
	name string
	// nodes are those that it may happen to: one of them is drawn. It happens to the cluster where there are none.
	nodes []string
	// peers is 1 where another node is drawn too; between says that only the traffic of these two is touched.
	peers   int
	between bool
	// families says that it is about one family, lasts that it takes the drawn time.
	families, lasts bool
	// alone are not done at the same time as another. stopsAPI and needsAPI exclude each other.
	alone, stopsAPI, needsAPI bool
	// userspace is only for a device that has a process.
	userspace bool
	// harmless costs nobody's traffic a packet.
	harmless bool
	// podsGo says that the node's pods do not outlive it.
	podsGo bool
	do     func(context.Context, *chaos, shot) error
}

// Whom a fault may happen to. What a process has leaked shows only if it lives on: the agent of n3 and, in the kernel's eyes, the device
// of n2 live through the whole run.
var (
	anyNode     = []string{"n1", "n2", "n3"}
	notItsAgent = []string{"n1", "n2"}
	notItsLane  = []string{"n1", "n3"}
	rebooted    = []string{"n1"}
)

// faultKinds are all that can be drawn.
var faultKinds = []faultKind{
	{name: "device deleted", nodes: notItsLane, do: byHand("ip link delete warren0")},
	{name: "device down", nodes: anyNode, do: byHand("ip link set warren0 down")},
	{name: "MTU changed", nodes: anyNode, do: byHand("ip link set warren0 mtu 1280")},
	{name: "address removed", nodes: anyNode, families: true, do: byHand("ip address delete {mesh} dev warren0")},
	{name: "peer removed", nodes: anyNode, peers: 1, do: byHand("wg set warren0 peer {key} remove")},
	{name: "allowed IP added", nodes: anyNode, peers: 1, families: true, harmless: true, do: byHand("wg set warren0 peer {key} allowed-ips {cidrs},{all}")},
	{name: "allowed IP moved", nodes: anyNode, peers: 1, families: true, do: byHand("wg set warren0 peer {third key} allowed-ips {third cidrs},{cidr}")},
	{name: "route deleted", nodes: anyNode, peers: 1, families: true, do: byHand("ip {-6} route delete {cidr}")},
	{name: "default route by the underlay", nodes: anyNode, families: true, lasts: true, harmless: true,
		do: forAWhile("ip {-6} route add default {via} metric 7", "ip {-6} route delete default {via} metric 7")},
	{name: "pod's route by the underlay", nodes: anyNode, peers: 1, families: true, lasts: true,
		do: forAWhile("ip {-6} route add {pod} {via}", "ip {-6} route delete {pod} {via}")},
	{name: "nft ruleset flushed", nodes: anyNode, do: byHand("nft flush ruleset")},
	{name: "guard's table deleted", nodes: anyNode, do: byHand("nft delete table inet warren-mesh")},
	{name: "policy's table deleted", nodes: anyNode, harmless: true, do: byHand("nft delete table inet warren-policy")},
	{name: "pods' rules deleted", nodes: anyNode, do: byHand("nft flush map inet warren-policy egress")},
	{name: "forwarding off", nodes: anyNode, families: true, do: byHand("sysctl -q -w {forwarding}=0")},
	{name: "agent stopped for a while", nodes: notItsAgent, lasts: true, harmless: true, do: agentStopped},
	{name: "agent restarted", nodes: notItsAgent, harmless: true, do: agentRestarted},
	{name: "agent killed", nodes: notItsAgent, harmless: true, do: agentKilled},
	{name: "agent replaced by another build, and back", nodes: notItsAgent, lasts: true, harmless: true, do: agentReplaced},
	{name: "audit of the whole kernel", nodes: anyNode, harmless: true, do: audited},
	{name: "tunnel process killed", nodes: notItsLane, userspace: true, do: tunnelKilled},
	{name: "node cut off", nodes: anyNode, lasts: true, do: cutOff},
	{name: "two nodes cut from each other", nodes: anyNode, peers: 1, between: true, lasts: true, do: cutApart},
	{name: "underlay address changed and back", nodes: anyNode, lasts: true, alone: true, needsAPI: true, do: readdressed},
	{name: "API server stopped", lasts: true, stopsAPI: true, harmless: true, do: apiStopped},
	{name: "full resync", alone: true, harmless: true, do: resynced},
	{name: "etcd restored from an older snapshot", alone: true, harmless: true, do: etcdRestored},
	{name: "state folder's disk full", nodes: anyNode, lasts: true, harmless: true, do: diskFull},
	{name: "state folder read-only", nodes: anyNode, lasts: true, harmless: true, do: diskReadOnly},
	{name: "node rebooted", nodes: rebooted, podsGo: true, do: nodeRebooted},
	{name: "annotations removed", nodes: anyNode, needsAPI: true, do: annotationsRemoved},
	{name: "endpoints falsified", nodes: anyNode, needsAPI: true, do: endpointsFalsified},
	{name: "NodeKey deleted", nodes: anyNode, needsAPI: true, harmless: true, do: nodeKeyDeleted},
	{name: "node joins and leaves", alone: true, needsAPI: true, harmless: true, do: joinsAndLeaves},
}

// byHand is what an administrator's hand does once.
func byHand(command string) func(context.Context, *chaos, shot) error {
	return func(ctx context.Context, c *chaos, s shot) error {
		_, err := c.Node(s.node).Run(ctx, "sh", "-c", c.fill(s, command))
		return err
	}
}

// forAWhile is what somebody does and undoes: Warren leaves it alone, and only keeps its promises beside it.
func forAWhile(do, undo string) func(context.Context, *chaos, shot) error {
	return func(ctx context.Context, c *chaos, s shot) error {
		if err := byHand(do)(ctx, c, s); err != nil {
			return err
		}
		pause(ctx, s.lasts)
		return byHand(undo)(ctx, c, s)
	}
}

// fill puts the shot's own into a command.
func (c *chaos) fill(s shot, command string) string {
	n, other := c.Node(s.node), c.Node(s.other)
	six, via, forwarding := "", "via 172.30.0.1", "net.ipv4.ip_forward"
	if s.ipv6 {
		six, via, forwarding = "-6", "via fe80::30:1 dev eth0", "net.ipv6.conf.all.forwarding"
	}
	mesh := ofFamily(n.MeshAddresses, s.ipv6)
	values := []string{"{-6}", six, "{via}", via, "{forwarding}", forwarding, "{mesh}", netip.PrefixFrom(mesh, mesh.BitLen()).String()}
	if other != nil {
		third := c.third(s)
		cidr := other.PodCIDRs[0]
		if (cidr.Addr().Is6()) != s.ipv6 {
			cidr = other.PodCIDRs[1]
		}
		all := "0.0.0.0/0"
		if s.ipv6 {
			all = "::/0"
		}
		values = append(values, "{key}", c.keys[other.Name], "{cidr}", cidr.String(),
			"{cidrs}", strings.Join(prefixTexts(other.PodCIDRs), ","), "{all}", all,
			"{third key}", c.keys[third.Name], "{third cidrs}", strings.Join(prefixTexts(third.PodCIDRs), ","),
			"{pod}", other.Pod(podNames[0]).Address(!s.ipv6).String())
	}
	return strings.NewReplacer(values...).Replace(command)
}

// third is the node that a shot is not about.
func (c *chaos) third(s shot) *lab.Node {
	for _, name := range anyNode {
		if name != s.node && name != s.other {
			return c.Node(name)
		}
	}
	return nil
}

func ofFamily(addrs []netip.Addr, ipv6 bool) netip.Addr {
	for _, a := range addrs {
		if a.Is6() == ipv6 {
			return a
		}
	}
	return netip.Addr{}
}

// patiently tries until it succeeds, for 30 s at most: what another fault at the same time is in the way of.
func patiently(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within 30 s: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
