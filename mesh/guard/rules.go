package guard

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// The names within the table.
const (
	lanes    = "lanes"
	podLink  = mesh.PodLinkPrefix + "*"
	podLinks = "podlinks"
	podMACs  = "podmacs"

	// What was dropped, and why.
	clearText = "clear"    // Pod traffic on its way out in clear.
	foreign   = "foreign"  // A cluster address on an interface that is neither lane nor pod.
	podSpoof  = "podspoof" // A pod under an IP or hardware address that it was not given.
	spoofed   = "spoofed"  // A peer under an address of this node or of no pod.
	transit   = "transit"  // A peer that wants more of this node than its pods and mesh address.
	// What was let through in clear while this node is migrated from another network.
	inClear = "inclear"
)

// The order in which netfilter calls the chains of one hook.
const (
	beforeConntrack = -350 // Sees the addresses of the wire, and whole packets: fragments are put together at -400.
	beforeFilter    = -5
	sourceNAT       = 100
	afterSourceNAT  = 300 // Sees what would be on the wire.
)

var linkLocal = netip.MustParsePrefix("fe80::/10")

// family is one side of the rules that are written for both, with the names of its sets.
type family struct {
	nft.Family
	cluster, own, natExclude, natOff, nodes, oldTo, oldFrom string
}

var families = []family{
	{nft.IPv4, "cluster4", "own4", "natexclude4", "natoff4", "nodes4", "oldto4", "oldfrom4"},
	{nft.IPv6, "cluster6", "own6", "natexclude6", "natoff6", "nodes6", "oldto6", "oldfrom6"},
}

// table is the whole table for a guard. Every packet of the node meets its rules, the lanes' own packets included, so the chains
// name lanes and prefixes one by one: that is a comparison, and a set is a search. There are few of them, and the sets are for
// srcnat, which sees the first packet of a flow alone. What a guard does not hold lets nothing through.
func table(g mesh.Guard, p pods) nft.Table {
	t := nft.Table{Family: nft.INet, Name: mesh.GuardTable}
	for _, name := range []string{clearText, foreign, podSpoof, spoofed, transit} {
		t.Counters = append(t.Counters, nft.Counter{Name: name})
	}
	t.Sets = append(p.sets(), nft.InterfaceSet(lanes, g.Lanes))
	for _, f := range families {
		t.Sets = append(t.Sets, nft.AddressSet(f.cluster, f.Family, g.Cluster), nft.AddressSet(f.own, f.Family, g.Own))
		if keepsSources(g) {
			t.Sets = append(t.Sets, nft.AddressSet(f.natExclude, f.Family, g.NATExclude), nft.AddressSet(f.natOff, f.Family, g.NATOff),
				nft.AddressSet(f.nodes, f.Family, single(g.Nodes)))
		}
		if len(g.OldLinks) > 0 {
			t.Sets = append(t.Sets, nft.AddressSet(f.oldTo, f.Family, g.OldTo), nft.AddressSet(f.oldFrom, f.Family, g.OldFrom))
		}
	}
	g.Lanes = slices.Compact(slices.Sorted(slices.Values(g.Lanes)))
	g.Cluster, g.Own = disjoint(g.Cluster), disjoint(g.Own)
	t.Chains = []nft.Chain{
		{Name: "to-own", Rules: toOwn(g)},
		{Name: "from-lane", Rules: fromLane(g)},
		{Name: "other-mac", Rules: []nft.Rule{nft.NewRule(nft.IIFNameIn(podLinks), dropped(podSpoof))}},
		{Name: "from-pod", Rules: fromPod()},
		{Name: "from-elsewhere", Rules: fromElsewhere(g)},
		{Name: "clamp", Rules: clamp(g)},
		{Name: "ingress", Hook: filter(nft.Prerouting, beforeConntrack), Rules: ingress(g)},
		{Name: "forward", Hook: filter(nft.Forward, beforeFilter), Rules: forward(g)},
		{Name: "srcnat", Hook: &nft.Hook{Type: "nat", Number: nft.Postrouting, Priority: sourceNAT}, Rules: srcnat(g)},
		{Name: "egress", Hook: filter(nft.Postrouting, afterSourceNAT), Rules: egress(g)},
	}
	if len(g.PodLinks) > 0 {
		t.Chains = append([]nft.Chain{{Name: "from-their-pod", Rules: fromTheirPod()}}, t.Chains...)
	}
	if len(g.OldLinks) > 0 {
		t.Counters = append(t.Counters, nft.Counter{Name: inClear})
		t.Chains = append([]nft.Chain{{Name: "from-old", Rules: fromOld()}}, t.Chains...)
	}
	return t
}

func filter(hook uint32, priority int32) *nft.Hook {
	return &nft.Hook{Type: "filter", Number: hook, Priority: priority}
}

// disjoint leaves out what another prefix holds already.
func disjoint(prefixes []netip.Prefix) (out []netip.Prefix) {
	for _, p := range slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare) {
		p = p.Masked()
		if len(out) == 0 || !out[len(out)-1].Overlaps(p) { // the wider of two that begin alike comes first
			out = append(out, p)
		}
	}
	return out
}

// each makes a rule of every one.
func each[T any](all []T, rule func(T) nft.Rule) (rules []nft.Rule) {
	for _, one := range all {
		rules = append(rules, rule(one))
	}
	return rules
}

// theirs are the links of another plugin's pods, and toPods those of all pods.
func theirs(g mesh.Guard) []string { return slices.Compact(slices.Sorted(slices.Values(g.PodLinks))) }
func toPods(g mesh.Guard) []string { return append([]string{podLink}, theirs(g)...) }

// dropped counts and drops.
func dropped(counter string) nft.Part { return slices.Concat(nft.CountAs(counter), nft.Drop()) }

// ingress sorts packets by where they came in. Here as below the pods' links come first: every packet pays for the rules that it
// does not match.
func ingress(g mesh.Guard) []nft.Rule {
	return slices.Concat(
		[]nft.Rule{nft.NewRule(nft.IIFName(podLink), nft.Goto("from-pod"))},
		each(theirs(g), func(link string) nft.Rule { return nft.NewRule(nft.IIFName(link), nft.Goto("from-their-pod")) }),
		each(g.Lanes, func(lane string) nft.Rule { return nft.NewRule(nft.IIFName(lane), nft.Goto("from-lane")) }),
		each(g.OldLinks, func(link string) nft.Rule { return nft.NewRule(nft.IIFName(link), nft.Jump("from-old")) }),
		[]nft.Rule{nft.NewRule(nft.IIFNameNot("lo"), nft.Goto("from-elsewhere"))},
	)
}

// fromLane lets a peer speak for pods that are not ours, to pods that are.
func fromLane(g mesh.Guard) []nft.Rule {
	return slices.Concat(
		each(g.Own, func(p netip.Prefix) nft.Rule { return nft.NewRule(nft.Saddr(p), dropped(spoofed)) }),
		each(g.Cluster, func(p netip.Prefix) nft.Rule { return nft.NewRule(nft.Saddr(p), nft.Goto("to-own")) }),
		[]nft.Rule{nft.NewRule(dropped(spoofed))},
	)
}

func toOwn(g mesh.Guard) []nft.Rule {
	return append(
		each(g.Own, func(p netip.Prefix) nft.Rule { return nft.NewRule(nft.Daddr(p), nft.Accept()) }),
		nft.NewRule(dropped(transit)),
	)
}

// fromPod lets a pod send what it was given: the hardware address, and the IP addresses, which the route to it says. What is as it should
// be costs one search for the hardware address; whether the pod's is known at all is asked of the rest only. Link-local addresses were given to
// nobody: a pod that sends under many of them would fill the node's table of neighbours. What every pod sends under them by itself, to no
// use since both ends know each other, is not counted.
func fromPod() []nft.Rule {
	unspecified := netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	return []nft.Rule{
		nft.NewRule(nft.IIFNameMACNotIn(podMACs), nft.Jump("other-mac")),
		nft.NewRule(nft.Saddr(linkLocal), nft.ICMPv6(), nft.Drop()),
		nft.NewRule(nft.Saddr(unspecified), nft.ICMPv6(), nft.Drop()),
		nft.NewRule(nft.Saddr(linkLocal), dropped(podSpoof)), // The kernel has a route for these.
		nft.NewRule(nft.NoWayBack(), dropped(podSpoof)),
	}
}

// fromTheirPod lets what another plugin's pods' links bring be from where these lead: a bridge to all pods on it, and a routed link to one.
// Link-local addresses are how such pods find their gateway.
func fromTheirPod() []nft.Rule {
	unspecified := netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	return []nft.Rule{
		nft.NewRule(nft.Saddr(linkLocal), nft.Accept()),
		nft.NewRule(nft.Saddr(unspecified), nft.ICMPv6(), nft.Accept()),
		nft.NewRule(nft.NoWayBack(), dropped(podSpoof)),
	}
}

// fromElsewhere refuses pods' addresses that come from the underlay, where anybody could send them.
func fromElsewhere(g mesh.Guard) []nft.Rule {
	return each(g.Cluster, func(p netip.Prefix) nft.Rule { return nft.NewRule(nft.Saddr(p), dropped(foreign)) })
}

// clamp lets TCP know how little fits into a lane.
func clamp(g mesh.Guard) []nft.Rule {
	return append(
		each(g.Lanes, func(lane string) nft.Rule { return nft.NewRule(nft.IIFName(lane), nft.ClampMSS()) }),
		each(g.Lanes, func(lane string) nft.Rule { return nft.NewRule(nft.OIFName(lane), nft.ClampMSS()) })...,
	)
}

// forward keeps a peer from going through this node, whatever a DNAT made of its destination. What goes to a pod or comes from
// one does not.
func forward(g mesh.Guard) []nft.Rule {
	rules := []nft.Rule{nft.NewRule(nft.SYN(), nft.Jump("clamp"))}
	for _, link := range toPods(g) {
		rules = append(rules, leave(link), nft.NewRule(nft.IIFName(link), nft.Accept()))
	}
	for _, lane := range g.Lanes {
		rules = append(rules,
			nft.NewRule(nft.IIFName(lane), nft.Reply(), nft.Accept()),
			nft.NewRule(nft.IIFName(lane), dropped(transit)),
		)
	}
	return rules
}
