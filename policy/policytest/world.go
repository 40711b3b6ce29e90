// Package policytest draws random worlds for policy's tests: few names, labels, addresses and ports, so that what is drawn meets.
package policytest

import (
	"fmt"
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/policy"
)

// Options bound what is drawn.
type Options struct {
	// Pods, Policies and ClusterPolicies are how many there are at most.
	Pods, Policies, ClusterPolicies int
	// Unsound draws also what an API server would refuse, or a version of it that is to come would let in.
	Unsound bool
	// Previews draws policies that are not enforced too.
	Previews bool
	// Shared lets two pods have one address, as for an instant they may.
	Shared bool
}

// Names from which everything is drawn.
var (
	namespaces = []string{"a", "b", "c"}
	keys       = []string{"app", "tier"}
	values     = []string{"x", "y"}
	portNames  = []string{"http", "dns"}
	protocols  = []policy.Protocol{policy.TCP, policy.UDP, policy.SCTP}
	ports      = []uint16{1, 53, 80, 81, 443, 8080, 65535}
)

// World draws a world.
func World(o Options) *rapid.Generator[policy.World] {
	return rapid.Custom(func(t *rapid.T) policy.World {
		d := drawer{t, o}
		var w policy.World
		for _, n := range namespaces {
			if d.oneIn(5, "unknown namespace") {
				continue
			}
			w.Namespaces = append(w.Namespaces, d.namespace(n))
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "nodes") {
			w.Nodes = append(w.Nodes, policy.Node{Name: fmt.Sprintf("n%d", i), Labels: d.labels(), Addresses: addresses("192.0.2.%d", "2001:db8::%d", i+1)})
		}
		for i, p := range several(d, 1, max(1, o.Pods), "pods", drawer.pod) {
			w.Pods = append(w.Pods, p.at(i))
		}
		w.Policies = several(d, 0, o.Policies, "policies", drawer.networkPolicy)
		for i, p := range w.Policies {
			p.Name = fmt.Sprintf("p%d", i)
		}
		w.ClusterPolicies = several(d, 0, o.ClusterPolicies, "cluster policies", drawer.clusterPolicy)
		for i, p := range w.ClusterPolicies {
			p.Name = fmt.Sprintf("c%d", i)
		}
		return w
	})
}

// Packets are those that tell a world's policies apart: from and to each pod, node, others and an address of nobody, of each protocol and port
// that a policy may name, and beside them.
func Packets(w policy.World, others ...netip.Addr) []policy.Packet {
	all := []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("10.0.0.200"), netip.MustParseAddr("2001:db8:1::7")}
	all = append(all, others...)
	for _, p := range w.Pods {
		all = append(all, p.Addresses...)
	}
	for _, n := range w.Nodes {
		all = append(all, n.Addresses...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	var packets []policy.Packet
	for _, from := range all {
		for _, to := range all {
			if from.Is4() == to.Is4() {
				packets = append(packets, between(from, to)...)
			}
		}
	}
	return packets
}

func between(from, to netip.Addr) []policy.Packet {
	icmp := policy.ICMP
	if to.Is6() {
		icmp = policy.ICMPv6
	}
	packets := []policy.Packet{{From: from, To: to, Protocol: icmp}, {From: from, To: to, Protocol: 47}}
	for _, protocol := range protocols {
		for _, port := range []uint16{53, 80, 81, 8080, 9999} {
			packets = append(packets, policy.Packet{From: from, To: to, Protocol: protocol, Port: port})
		}
	}
	return packets
}

type drawer struct {
	*rapid.T
	Options
}

// several draws as rapid knows to leave some out of again.
func several[T any](d drawer, least, most int, what string, draw func(drawer) T) []T {
	one := rapid.Custom(func(t *rapid.T) T { return draw(drawer{t, d.Options}) })
	return rapid.SliceOfN(one, least, most).Draw(d.T, what)
}

func (d drawer) oneIn(n int, what string) bool { return rapid.IntRange(1, n).Draw(d.T, what) == n }

// unsound says rarely, and only where it may, that the next thing is to be one that cannot be read.
func (d drawer) unsound(what string) bool { return d.Unsound && d.oneIn(12, "unsound "+what) }

// stage draws the annotations of a policy.
func (d drawer) stage() map[string]string {
	if d.Previews && d.oneIn(6, "preview") {
		return map[string]string{policy.StageAnnotation: policy.StagePreview}
	}
	return nil
}

func (d drawer) namespace(name string) policy.Namespace {
	n := policy.Namespace{Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name}}
	for k, v := range d.labels() {
		n.Labels[k] = v
	}
	return n
}

func (d drawer) labels() map[string]string {
	set := map[string]string{}
	for _, k := range keys {
		if rapid.Bool().Draw(d.T, k) {
			set[k] = rapid.SampledFrom(values).Draw(d.T, "value")
		}
	}
	return set
}

func addresses(four, six string, i int) []netip.Addr {
	return []netip.Addr{netip.MustParseAddr(fmt.Sprintf(four, i)), netip.MustParseAddr(fmt.Sprintf(six, i))}
}

// kindOfPod is a pod before it is known which of the world's it is.
type kindOfPod struct {
	policy.Pod
	addresses int
	shared    bool
}

func (d drawer) pod() kindOfPod {
	return kindOfPod{
		policy.Pod{PodKey: policy.PodKey{Namespace: rapid.SampledFrom(namespaces).Draw(d.T, "namespace")}, Labels: d.labels(), Ports: d.namedPorts()},
		rapid.IntRange(0, 7).Draw(d.T, "kind of pod"), d.Shared && d.oneIn(6, "shared address"),
	}
}

func (k kindOfPod) at(i int) policy.Pod {
	p := k.Pod
	p.Name = fmt.Sprintf("pod%d", i)
	both := PodAddresses(i)
	if k.shared && i > 0 {
		both = PodAddresses(i - 1)
	}
	switch k.addresses {
	case 4:
		p.HostNetwork, p.Addresses = true, addresses("192.0.2.%d", "2001:db8::%d", 1)
	case 5:
		p.Addresses = both[:1]
	case 6:
		p.Addresses = both[1:]
	case 7:
		p.Addresses = nil
	default:
		p.Addresses = both
	}
	return p
}

// namedPorts gives no port two names.
func (d drawer) namedPorts() []policy.NamedPort {
	var named []policy.NamedPort
	taken := map[policy.NamedPort]bool{}
	for range rapid.IntRange(0, 3).Draw(d.T, "named ports") {
		port := policy.NamedPort{Protocol: rapid.SampledFrom(protocols).Draw(d.T, "protocol"), Port: rapid.SampledFrom([]uint16{53, 80, 8080}).Draw(d.T, "port")}
		if taken[port] {
			continue
		}
		taken[port] = true
		port.Name = rapid.SampledFrom(portNames).Draw(d.T, "port name")
		named = append(named, port)
	}
	return named
}
