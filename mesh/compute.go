package mesh

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/crypto/identity"
)

// Local is what a node knows of itself and how it was configured.
type Local struct {
	// Name is its Node's.
	Name      string
	PublicKey identity.PublicKey
	// Interface is the lane's name.
	Interface  string
	ListenPort uint16
	// MTU is the lane's in bytes; 0 takes it from PathMTU and UnderlayMTU.
	MTU int
	// UnderlayMTU is that of the link which holds the node's addresses, in bytes.
	UnderlayMTU int
	// PathMTU gives the MTU of the underlay's route to an address, in bytes; 0 where none leads there. It may be nil, and gives
	// the same for the same address during one Compute.
	PathMTU func(netip.Addr) int
	// ClusterCIDRs are the cluster's pod CIDRs and ServiceCIDRs its services', both families.
	ClusterCIDRs []netip.Prefix
	ServiceCIDRs []netip.Prefix
	// Addresses are the node's own on the underlay. Their families say which endpoints it can reach.
	Addresses []netip.Addr
	// NATExclude are destinations out of the cluster that pods reach with their own addresses. NATOff are prefixes of pods that reach all of them
	// so: what of them is not this node's own makes no difference. NoNAT says that of all its own.
	NATExclude, NATOff []netip.Prefix
	NoNAT              bool
	// PodLinks are the host's links that lead to pods of another plugin, as Guard has them.
	PodLinks []string
	// Mesh are the node's mesh addresses, as far as they are in its own pod CIDRs; nil for base + 1 of the first of each family.
	Mesh []netip.Addr
	// OldLinks are those of the network that this node is migrated from, as Guard has them; none where it is not.
	OldLinks []string
	// Answered are the nodes, by name, whose WireGuard has answered this node's, ever, and Migrated the plan's of that name that is in the kernel.
	// They count with OldLinks only.
	Answered map[string]bool
	Migrated []string
	// Adopted are the keys of the peers that are in use already, by node, each of one node: they stay in use where nobody has a
	// NodeKey of theirs.
	Adopted map[string]identity.PublicKey
}

// Result is what Compute found.
type Result struct {
	Plan Plan
	// Refusals are the claims and grants that are not used, in the order of the nodes' names.
	Refusals []Refusal
	// Waiting are the nodes that have not published a key or have no pod CIDR or no NodeKey yet, by name.
	Waiting []string
	// InClear are the nodes to which packets may leave in clear, since this node is migrated from another network, by name.
	InClear []string
}

// Compute makes the plan of the node that local describes, which is one of nodes (or not yet). It is a pure function; the
// order of nodes does not matter.
func Compute(local Local, nodes []Node) Result {
	sorted := make([]*Node, len(nodes))
	for i := range nodes {
		sorted[i] = &nodes[i]
	}
	slices.SortFunc(sorted, compareNames)
	return new(Planner).Compute(local, sorted)
}

func compareNames(a, b *Node) int { return cmp.Compare(a.Name, b.Name) }

// computation gathers what is refused on the way.
type computation struct {
	local    Local
	refusals []Refusal
	// refused are the grants among them.
	refused map[*Node][]netip.Prefix
	// waiting says that something is missing of the node that is looked at.
	waiting bool
}

func (c *computation) refuse(node string, reason Reason, format string, args ...any) {
	c.refusals = append(c.refusals, Refusal{Node: node, Reason: reason, Detail: fmt.Sprintf(format, args...)})
}

// peer is what another node becomes, and the MTU toward it, or nil where it cannot be one.
func (c *computation) peer(n *Node) (peer *Peer, mtu int) {
	switch {
	case n.Malformed != "":
		c.refuse(n.Name, Malformed, "%s", n.Malformed)
		return nil, 0
	case !n.Claim.Published() || len(n.Grants) == 0 && len(n.Doubts) == 0:
		c.waiting = true
		return nil, 0
	case n.Claim.PublicKey == c.local.PublicKey:
		c.refuse(n.Name, KeyTaken, "public key %s is this node's own", n.Claim.PublicKey)
		return nil, 0
	}
	if !c.holdsKey(n) {
		return nil, 0
	}
	allowed := c.allowedIPs(n)
	if len(allowed) == 0 {
		return nil, 0
	}
	c.checkMeshAddresses(n, allowed)
	endpoint, mtu := c.endpoint(n)
	return &Peer{Node: n.Name, PublicKey: n.Claim.PublicKey, Endpoint: endpoint, AllowedIPs: allowed, ClockSteps: n.Claim.ClockSteps}, mtu
}

// holdsKey says whether a node may use the key that it claims: whoever has the key's NodeKey may, since the API server let it be made
// but once. A key that nobody has a NodeKey of stays with the node that it is in use for.
func (c *computation) holdsKey(n *Node) bool {
	key := n.Claim.PublicKey
	switch {
	case n.KeyHolder == n.Name:
		return true
	case n.KeyHolder != "":
		c.refuse(n.Name, KeyTaken, "public key %s is held by node %s, which has its NodeKey", key, n.KeyHolder)
		return false
	case c.local.Adopted[n.Name] != key:
		// Not a refusal: the Node and its NodeKey come by different watches, and either may be first.
		c.waiting = true
		return false
	}
	return true
}

// allowedIPs are the claimed pod CIDRs that a grant covers.
func (c *computation) allowedIPs(n *Node) []netip.Prefix {
	grants := c.accepted(n)
	allowed := make([]netip.Prefix, 0, len(n.Claim.PodCIDRs))
	for _, claimed := range n.Claim.PodCIDRs {
		switch {
		case containedInAny(claimed, grants):
			allowed = append(allowed, claimed)
		case containedInAny(claimed, n.Grants):
			// The grant itself was refused, and that has been said.
		default:
			c.refuse(n.Name, NotGranted, "pod CIDR %s is in none of its grants (%s)%s", claimed, cmp.Or(join(n.Grants), "none"), doubted(n, claimed))
		}
	}
	if len(n.Claim.PodCIDRs) == 0 {
		c.waiting = true
	}
	return allowed
}

// doubted is what is to be said of a claim where it is a block that does not count. Of one that is not claimed nothing is: the block and
// what it hangs on come by different watches, and the claim after all of them.
func doubted(n *Node, claimed netip.Prefix) string {
	for _, d := range n.Doubts {
		if containedInAny(claimed, []netip.Prefix{d.CIDR}) {
			return fmt.Sprintf("; block %s does not count: %s", d.CIDR, d.Why)
		}
	}
	return ""
}

// checkMeshAddresses refuses mesh addresses outside the node's pod CIDRs. Nothing is programmed from them: a mesh address
// is reached as part of its pod CIDR.
func (c *computation) checkMeshAddresses(n *Node, allowed []netip.Prefix) {
	for _, addr := range n.Claim.MeshAddresses {
		if !slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			c.refuse(n.Name, NotGranted, "mesh address %s is in none of its pod CIDRs (%s)", addr, join(allowed))
		}
	}
}

// endpoint is the first candidate that may be used and is of a family that this node has. A node without one is still a
// peer: it may call first. The MTU is the least toward any candidate of those families, since the peer may roam between them.
func (c *computation) endpoint(n *Node) (chosen netip.AddrPort, mtu int) {
	for _, candidate := range n.Claim.Endpoints {
		if why := c.badEndpoint(candidate.Addr()); why != "" {
			c.refuse(n.Name, BadEndpoint, "endpoint %s %s", candidate, why)
			continue
		}
		if !c.reaches(candidate.Addr()) {
			continue
		}
		if !chosen.IsValid() {
			chosen = candidate
		}
		if m := c.local.inside(candidate.Addr()); m != 0 && (mtu == 0 || m < mtu) {
			mtu = m
		}
	}
	return chosen, mtu
}

func (c *computation) badEndpoint(addr netip.Addr) string {
	switch {
	case addr.IsUnspecified():
		return "is the unspecified address"
	case addr.IsLoopback():
		return "is a loopback address"
	case addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is a multicast or broadcast address"
	case addr.IsLinkLocalUnicast():
		return "is a link-local address"
	case contains(c.local.ClusterCIDRs, addr):
		return "is inside a pod CIDR: WireGuard would be sent into itself"
	case contains(c.local.ServiceCIDRs, addr):
		return "is inside a service CIDR"
	}
	return ""
}

func (c *computation) reaches(addr netip.Addr) bool {
	return len(c.local.Addresses) == 0 ||
		slices.ContainsFunc(c.local.Addresses, func(own netip.Addr) bool { return own.Is4() == addr.Is4() })
}
