package nft

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/policy"
)

// The names of what every table has.
const (
	egress   = "egress"
	ingress  = "ingress"
	toNode   = "host"
	own4     = "own4"
	own6     = "own6"
	revoked4 = "revoked4"
	revoked6 = "revoked6"
	// The revoked flows of which an end sends.
	insisting4 = "insisting4"
	insisting6 = "insisting6"

	fromPodChain = "from-pod"
	toPodChain   = "to-pod"
	toNodeChain  = "to-node"
	revokedChain = "revoked"

	podLinks = mesh.PodLinkPrefix + "*"
	// theirLinks are the links of another plugin's pods, and spoofingChain is for what comes by them.
	theirLinks    = "podlinks"
	spoofingChain = "from-their-pod"

	// The prefixes of what is logged without a rule; by the same names it is counted.
	unboundEgress  = "unbound-egress"
	unboundIngress = "unbound-ingress"
	revokedFlow    = "revoked"
	spoofed        = "spoofed"
	// deniedEgress and deniedIngress count what rules deny.
	deniedEgress  = "denied-egress"
	deniedIngress = "denied-ingress"
)

// priority is that of filters; the guard's comes before. A source is looked at beforeConntrack, which else would take what is sent under another's
// address for that one's flow, but after fragments were put together.
const (
	priority        = 0
	beforeConntrack = -300
)

func (o Options) baseSets() []nft.Set {
	sets := []nft.Set{
		{Name: egress, Kind: nft.InterfaceVerdicts},
		{Name: ingress, Kind: nft.InterfaceVerdicts},
		{Name: toNode, Kind: nft.InterfaceVerdicts},
		{Name: own4, Kind: nft.InterfaceIPv4s},
		{Name: own6, Kind: nft.InterfaceIPv6s},
		{Name: revoked4, Kind: nft.IPv4Flows},
		{Name: revoked6, Kind: nft.IPv6Flows},
		{Name: insisting4, Kind: nft.IPv4Flows},
		{Name: insisting6, Kind: nft.IPv6Flows},
	}
	if o.Theirs {
		sets = append(sets, nft.Set{Name: theirLinks, Kind: nft.Interfaces})
	}
	return sets
}

// baseChains are those of the hooks, and those that ask for a pod's. An entry of a verdict map goes to a chain, at whose end the packet is back in
// the base chain; so what follows the map is for those without an entry.
func (o Options) baseChains() []nft.Chain {
	from, to, notFrom := nft.IIFName(podLinks), nft.OIFName(podLinks), nft.IIFNameNot(podLinks)
	if o.Theirs {
		from, to, notFrom = nft.IIFNameIn(theirLinks), nft.OIFNameIn(theirLinks), nft.IIFNameNotIn(theirLinks)
	}
	fromUnbound, toUnbound := o.denied(nil, unboundEgress, unboundEgress), o.denied(nil, unboundIngress, unboundIngress)
	chains := []nft.Chain{
		{Name: fromPodChain, Rules: append([]nft.Rule{
			nft.NewRule(nft.IIFNameDaddrIn(nft.IPv4, own4), nft.Accept()), // A service that brings a pod back to itself.
			nft.NewRule(nft.IIFNameDaddrIn(nft.IPv6, own6), nft.Accept()),
			nft.NewRule(nft.IIFNameMap(egress)),
		}, fromUnbound...)},
		{Name: toPodChain, Rules: append([]nft.Rule{nft.NewRule(nft.OIFNameMap(ingress))}, toUnbound...)},
		{Name: revokedChain, Rules: append(insist(), o.denied(nil, revokedFlow, revokedFlow)...)},
		{Name: toNodeChain, Rules: append([]nft.Rule{nft.NewRule(nft.IIFNameMap(toNode))}, fromUnbound...)},
		{Name: "forward", Hook: filter(nft.Forward), Rules: slices.Concat(settled(), []nft.Rule{
			nft.NewRule(from, nft.Jump(fromPodChain)),
			nft.NewRule(to, nft.Jump(toPodChain)),
		})},
		{Name: "input", Hook: filter(nft.Input), Rules: slices.Concat(
			[]nft.Rule{nft.NewRule(notFrom, nft.Accept())}, // What is for the node is not from pods as a rule.
			settled(),
			[]nft.Rule{
				nft.NewRule(nft.NeighbourDiscovery(), nft.Accept()), // It is never forwarded.
				nft.NewRule(nft.Jump(toNodeChain)),
			},
		)},
	}
	if o.Theirs {
		chains = append(chains, nft.Chain{Name: spoofingChain, Rules: o.spoofing()}, nft.Chain{
			Name:  "prerouting",
			Hook:  &nft.Hook{Type: "filter", Number: nft.Prerouting, Priority: beforeConntrack},
			Rules: []nft.Rule{nft.NewRule(from, nft.Goto(spoofingChain))},
		})
	}
	return chains
}

// linkLocal and unspecified are what every pod sends ICMPv6 under, to find its gateway.
var (
	linkLocal   = netip.MustParsePrefix("fe80::/10")
	unspecified = netip.PrefixFrom(netip.IPv6Unspecified(), 128)
)

// spoofing lets another plugin's pod send under its own addresses only: who may do what follows from them. Warren's own pods have the guard for
// that.
func (o Options) spoofing() []nft.Rule {
	return append([]nft.Rule{
		nft.NewRule(nft.IIFNameSaddrIn(nft.IPv4, own4), nft.Accept()),
		nft.NewRule(nft.IIFNameSaddrIn(nft.IPv6, own6), nft.Accept()),
		nft.NewRule(nft.Saddr(linkLocal), nft.ICMPv6(), nft.Accept()),
		nft.NewRule(nft.Saddr(unspecified), nft.ICMPv6(), nft.Accept()),
	}, o.denied(nil, spoofed, spoofed)...)
}

func filter(hook uint32) *nft.Hook {
	return &nft.Hook{Type: "filter", Number: hook, Priority: priority}
}

// settled is what was decided before: flows that were revoked, and those that were let through, with the errors about them. A path's MTU comes
// as such an error. What insists matters to those alone that would begin.
func settled() []nft.Rule {
	return []nft.Rule{
		nft.NewRule(nft.FlowIn(nft.IPv4, revoked4), nft.Goto(revokedChain)),
		nft.NewRule(nft.FlowIn(nft.IPv6, revoked6), nft.Goto(revokedChain)),
		nft.NewRule(nft.Established(), nft.Accept()),
		nft.NewRule(nft.FlowIn(nft.IPv4, insisting4), nft.Goto(revokedChain)),
		nft.NewRule(nft.FlowIn(nft.IPv6, insisting6), nft.Goto(revokedChain)),
	}
}

// insist remembers, of a revoked flow, both directions for a while from each packet on. Else the end that may open a flow itself would have it back
// by sending on until the revocation's time is over. TCP gives up long before.
func insist() (rules []nft.Rule) {
	for _, back := range []bool{false, true} {
		rules = append(rules,
			nft.NewRule(nft.NotProtocol(uint8(policy.TCP)), nft.KeepFlow(nft.IPv4, insisting4, back, revokedOther)),
			nft.NewRule(nft.NotProtocol(uint8(policy.TCP)), nft.KeepFlow(nft.IPv6, insisting6, back, revokedOther)))
	}
	return rules
}

// perSecond is how many packets a second each rule that denies tells of.
const perSecond = 10

// denied drops what matches, counts it, by the rule and by the counter, and tells of some of it. That takes two rules: a limit that is reached ends
// the rule.
func (o Options) denied(match nft.Part, prefix, counter string) []nft.Rule {
	drop := nft.NewRule(match, nft.Count(), nft.CountAs(counter), nft.Drop())
	if o.LogGroup == 0 {
		return []nft.Rule{drop}
	}
	return []nft.Rule{nft.NewRule(match, nft.Limit(perSecond), nft.Log(o.LogGroup, prefix)), drop}
}
