package mesh

import (
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
)

// The marks by which everything Warren puts into a kernel is known again, whoever started it and with which flags.
const (
	// RouteProtocol is the routing protocol number (rtnetlink's rtm_protocol) of every route that is Warren's, and of its rule.
	RouteProtocol = 87
	// MigrationTable is the table of IPv4 routes to peers while this node is migrated from another network, and MigrationPriority that of the
	// rule by which it is asked before the main one: there the other network has routes to the same prefixes, which are not ours to remove.
	MigrationTable    = 87
	MigrationPriority = 8787
	// MigrationMetric is that of IPv6 routes to peers meanwhile. They win by it, and the kernel tells sockets of it, as it would not of another
	// table. IPv4 has no metric that is less than the usual one.
	MigrationMetric = 87
	// PodLinkPrefix begins the name of the host's end of every pod's veth.
	PodLinkPrefix = "wrp"
	// LinkAlias begins the alias (IFLA_IFALIAS) of every link that is Warren's.
	LinkAlias = "warren.dev/"
	// LaneAlias is the alias of a lane's link.
	LaneAlias = LinkAlias + "lane"
	// GuardTable is the name of the guard's nftables table, family inet.
	GuardTable = "warren-mesh"
)

// Plan is everything the kernel of one node should hold for the mesh.
type Plan struct {
	// Node is the name of the node whose plan it is.
	Node string `json:"node"`
	// Lanes are the WireGuard devices. At present there is exactly one.
	Lanes []Lane `json:"lanes"`
	// Routes are all routes of the mesh: by lanes to the peers, and unreachable beneath. They are never changed: what is the same in
	// two plans of one Planner is the same pointer.
	Routes []*Route `json:"routes"`
	// Guard keeps pod traffic inside the lanes.
	Guard Guard `json:"guard"`
	// Migrated are, while this node is migrated from another network, the nodes that are reached by the lanes, by name: where this plan is in the
	// kernel, nothing may leave to them in clear any more.
	Migrated []string `json:"migrated,omitempty"`
}

// Equal says whether two plans are the same in every field.
func (p Plan) Equal(o Plan) bool {
	return p.Node == o.Node && slices.EqualFunc(p.Lanes, o.Lanes, Lane.Equal) && slices.EqualFunc(p.Routes, o.Routes, (*Route).Equal) && p.Guard.Equal(o.Guard) &&
		slices.Equal(p.Migrated, o.Migrated)
}

// Lane is one WireGuard device.
type Lane struct {
	Name string `json:"name"`
	// PublicKey is the device's own.
	PublicKey  identity.PublicKey `json:"publicKey"`
	ListenPort uint16             `json:"listenPort"`
	// MTU is the device's, in bytes: the largest pod packet, without WireGuard's overhead. Routes may say less.
	MTU int `json:"mtu"`
	// Addresses are the node's mesh addresses, /32 or /128.
	Addresses []netip.Prefix `json:"addresses"`
	// Peers are ordered by node name, and as little changed as Routes.
	Peers []*Peer `json:"peers"`
}

// Equal says whether two lanes are the same in every field.
func (l Lane) Equal(o Lane) bool {
	return l.Name == o.Name && l.PublicKey == o.PublicKey && l.ListenPort == o.ListenPort && l.MTU == o.MTU &&
		slices.Equal(l.Addresses, o.Addresses) && slices.EqualFunc(l.Peers, o.Peers, (*Peer).Equal)
}

// Peer is another node as WireGuard sees it.
type Peer struct {
	Node      string             `json:"node"`
	PublicKey identity.PublicKey `json:"publicKey"`
	// Endpoint is a hint from the peer's claim; the zero value means that none is known, and the peer must call first.
	Endpoint netip.AddrPort `json:"endpoint,omitzero"`
	// AllowedIPs are masked, sorted and covered by the peer's grants.
	AllowedIPs []netip.Prefix `json:"allowedIPs"`
	// Keepalive is the persistent keepalive interval; 0 is off.
	Keepalive time.Duration `json:"keepalive,omitempty"`
	// ClockSteps is how often the peer's clock went back, as it says itself: with each, WireGuard's peer is to be made anew.
	ClockSteps uint32 `json:"clockSteps,omitempty"`
}

// Equal says whether two peers are the same in every field.
func (p *Peer) Equal(o *Peer) bool {
	return p == o || p.Node == o.Node && p.PublicKey == o.PublicKey && p.Endpoint == o.Endpoint &&
		p.Keepalive == o.Keepalive && p.ClockSteps == o.ClockSteps && slices.Equal(p.AllowedIPs, o.AllowedIPs)
}

// UnreachableMetric is the worst metric there is: any other route to the same prefix wins.
const UnreachableMetric = 1<<32 - 1

// Route is one route with protocol RouteProtocol. It is comparable.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	// Table is MigrationTable, or 0 for the main one.
	Table uint32 `json:"table,omitempty"`
	// Device is the lane it leaves by; empty for an unreachable route, which answers the sender with an ICMP error.
	Device string `json:"device,omitempty"`
	// Source is the address that the node itself uses toward the destination; invalid for an unreachable route.
	Source netip.Addr `json:"source,omitzero"`
	// Metric is 0 for the kernel's default; lanes' routes have that, or MigrationMetric.
	Metric uint32 `json:"metric,omitempty"`
	// MTU is the largest packet that fits on the way to the destination, in bytes; 0 where that is the lane's.
	MTU int `json:"mtu,omitempty"`
}

// Equal says whether two routes are the same in every field.
func (r *Route) Equal(o *Route) bool { return r == o || *r == *o }

// Unreachable says whether the route is an error rather than a way.
func (r *Route) Unreachable() bool { return r.Device == "" }

// Guard is what the nftables table `inet warren-mesh` is made of.
type Guard struct {
	// Lanes are the names of the lanes' links.
	Lanes []string `json:"lanes"`
	// Cluster are the cluster's pod CIDRs: what may leave this node by a lane only.
	Cluster []netip.Prefix `json:"cluster"`
	// Own are the accepted pod CIDRs of this node.
	Own []netip.Prefix `json:"own"`
	// Mesh are this node's mesh addresses, at most one of each family.
	Mesh []netip.Addr `json:"mesh"`
	// PodLinks are the host's links that lead to pods of another plugin, by name or, with "*" at the end, by what their names begin with.
	PodLinks []string `json:"podLinks,omitempty"`
	// NATExclude are destinations out of the cluster that this node's pods reach with their own addresses, and NATOff those of its pods'
	// prefixes from which all are reached so.
	NATExclude []netip.Prefix `json:"natExclude,omitempty"`
	NATOff     []netip.Prefix `json:"natOff,omitempty"`
	// Nodes are the other nodes' own addresses, which pods reach with their node's all the same. There are none where there is no exception
	// to be excepted from.
	Nodes []netip.Addr `json:"nodes,omitempty"`
	// OldLinks are, while this node is migrated, the links of the network between nodes that was there before. What is for OldTo may leave by
	// them, and what is from OldFrom come in: the pod CIDRs of nodes that cannot be spoken to by a lane yet, or that say they cannot with all.
	OldLinks []string       `json:"oldLinks,omitempty"`
	OldTo    []netip.Prefix `json:"oldTo,omitempty"`
	OldFrom  []netip.Prefix `json:"oldFrom,omitempty"`
}

// Equal says whether two guards are the same in every field.
func (g Guard) Equal(o Guard) bool {
	return slices.Equal(g.Lanes, o.Lanes) && slices.Equal(g.Cluster, o.Cluster) &&
		slices.Equal(g.Own, o.Own) && slices.Equal(g.Mesh, o.Mesh) && slices.Equal(g.PodLinks, o.PodLinks) &&
		slices.Equal(g.NATExclude, o.NATExclude) && slices.Equal(g.NATOff, o.NATOff) && slices.Equal(g.Nodes, o.Nodes) &&
		slices.Equal(g.OldLinks, o.OldLinks) && slices.Equal(g.OldTo, o.OldTo) && slices.Equal(g.OldFrom, o.OldFrom)
}
