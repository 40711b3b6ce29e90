package guard

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// The names within the table.
const (
	lanes   = "lanes"
	podLink = mesh.PodLinkPrefix + "*"

	// What was dropped, and why.
	clearText = "clear"    // Pod traffic on its way out in clear.
	foreign   = "foreign"  // A cluster address on an interface that is neither lane nor pod.
	podSpoof  = "podspoof" // A pod under an address that it was not given.
	spoofed   = "spoofed"  // A peer under an address of this node or of no pod.
	transit   = "transit"  // A peer that wants more of this node than its pods and mesh address.
)

// The order in which netfilter calls the chains of one hook.
const (
	beforeConntrack = -350 // Sees the addresses of the wire, and whole packets: fragments are put together at -400.
	beforeFilter    = -5
	sourceNAT       = 100
	afterSourceNAT  = 300 // Sees what would be on the wire.
)

var linkLocal = netip.MustParsePrefix("fe80::/10")

// family is one side of the rules that are written for both.
type family struct {
	nft.Family
	cluster, own string
}

var families = []family{
	{nft.IPv4, "cluster4", "own4"},
	{nft.IPv6, "cluster6", "own6"},
}

// table is the whole table for a guard. Every rule is there for both families whatever the guard holds: an empty set lets
// nothing through. Only the SNAT to a mesh address that does not exist yet is left out.
func table(g mesh.Guard) nft.Table {
	t := nft.Table{Family: nft.INet, Name: mesh.GuardTable}
	for _, name := range []string{clearText, foreign, podSpoof, spoofed, transit} {
		t.Counters = append(t.Counters, nft.Counter{Name: name})
	}
	t.Sets = append(t.Sets, nft.InterfaceSet(lanes, g.Lanes))
	for _, f := range families {
		t.Sets = append(t.Sets, nft.AddressSet(f.cluster, f.Family, g.Cluster), nft.AddressSet(f.own, f.Family, g.Own))
	}
	t.Chains = []nft.Chain{
		{Name: "from-lane", Rules: fromLane()},
		{Name: "from-pod", Rules: fromPod()},
		{Name: "from-elsewhere", Rules: fromElsewhere()},
		{Name: "ingress", Hook: filter(nft.Prerouting, beforeConntrack), Rules: ingress()},
		{Name: "forward", Hook: filter(nft.Forward, beforeFilter), Rules: forward()},
		{Name: "srcnat", Hook: &nft.Hook{Type: "nat", Number: nft.Postrouting, Priority: sourceNAT}, Rules: srcnat(g.Mesh)},
		{Name: "egress", Hook: filter(nft.Postrouting, afterSourceNAT), Rules: egress()},
	}
	return t
}

func filter(hook uint32, priority int32) *nft.Hook {
	return &nft.Hook{Type: "filter", Number: hook, Priority: priority}
}

// dropped counts and drops.
func dropped(counter string) nft.Part { return slices.Concat(nft.CountAs(counter), nft.Drop()) }

// ingress sorts packets by where they came in. Here as below the pods' links come first: every packet pays for the rules that it
// does not match, and a name costs less than a set.
func ingress() []nft.Rule {
	return []nft.Rule{
		nft.NewRule(nft.IIFName(podLink), nft.Goto("from-pod")),
		nft.NewRule(nft.IIFNameIn(lanes), nft.Goto("from-lane")),
		nft.NewRule(nft.IIFNameNot("lo"), nft.Goto("from-elsewhere")),
	}
}

// fromLane lets a peer speak for pods that are not ours, to pods that are.
func fromLane() (rules []nft.Rule) {
	for _, f := range families {
		rules = append(rules,
			nft.NewRule(nft.SaddrIn(f.Family, f.own), dropped(spoofed)),
			nft.NewRule(nft.SaddrNotIn(f.Family, f.cluster), dropped(spoofed)),
			nft.NewRule(nft.DaddrNotIn(f.Family, f.own), dropped(transit)),
		)
	}
	return rules
}

// fromPod lets a pod send what it was given, which the route to it says. Neighbour discovery has addresses of its own.
func fromPod() []nft.Rule {
	unspecified := netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	return []nft.Rule{
		nft.NewRule(nft.Saddr(linkLocal), nft.ICMPv6(), nft.Accept()),
		nft.NewRule(nft.Saddr(unspecified), nft.ICMPv6(), nft.Accept()),
		nft.NewRule(nft.Saddr(linkLocal), dropped(podSpoof)), // The kernel has a route for these.
		nft.NewRule(nft.NoWayBack(), dropped(podSpoof)),
	}
}

// fromElsewhere refuses pods' addresses that come from the underlay, where anybody could send them.
func fromElsewhere() (rules []nft.Rule) {
	for _, f := range families {
		rules = append(rules, nft.NewRule(nft.SaddrIn(f.Family, f.cluster), dropped(foreign)))
	}
	return rules
}

// forward keeps a peer from going through this node, whatever a DNAT made of its destination. What goes to a pod or comes from
// one does not.
func forward() []nft.Rule {
	return []nft.Rule{
		nft.NewRule(nft.SYN(), nft.IIFNameIn(lanes), nft.ClampMSS()),
		nft.NewRule(nft.SYN(), nft.OIFNameIn(lanes), nft.ClampMSS()),
		nft.NewRule(nft.OIFName(podLink), nft.Accept()),
		nft.NewRule(nft.IIFName(podLink), nft.Accept()),
		nft.NewRule(nft.IIFNameIn(lanes), nft.Reply(), nft.Accept()),
		nft.NewRule(nft.IIFNameIn(lanes), dropped(transit)),
	}
}

// srcnat gives what leaves by a lane a source that the peer lets in, and what pods send out of the cluster the node's address.
func srcnat(addresses []netip.Addr) (rules []nft.Rule) {
	for _, f := range families {
		for _, a := range addresses {
			if a.Is4() == (f.Family == nft.IPv4) {
				rules = append(rules, nft.NewRule(nft.OIFNameIn(lanes), nft.SaddrNotIn(f.Family, f.own), nft.SNAT(a)))
				break
			}
		}
	}
	rules = append(rules, staysHere()...)
	for _, f := range families {
		rules = append(rules, nft.NewRule(nft.SaddrIn(f.Family, f.own), nft.DaddrNotIn(f.Family, f.cluster), nft.Masquerade()))
	}
	return rules
}

// egress is the last look before the wire: no pod's address leaves in clear, whichever way the packet came to leave.
func egress() []nft.Rule {
	rules := staysHere()
	for _, f := range families {
		rules = append(rules,
			nft.NewRule(nft.DaddrIn(f.Family, f.cluster), dropped(clearText)),
			nft.NewRule(nft.SaddrIn(f.Family, f.cluster), dropped(clearText)),
		)
	}
	return rules
}

// staysHere accepts what leaves encrypted or not at all.
func staysHere() []nft.Rule {
	return []nft.Rule{
		nft.NewRule(nft.OIFName(podLink), nft.Accept()),
		nft.NewRule(nft.OIFNameIn(lanes), nft.Accept()),
		nft.NewRule(nft.OIFName("lo"), nft.Accept()),
	}
}
