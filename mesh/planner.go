package mesh

import (
	"net/netip"
	"slices"
)

// Planner makes one plan after the other, and does again only what has changed since the last: of thousands of nodes most are as they
// were at any event. What it makes is what Compute would. The zero value has made none; it is not for concurrent use.
type Planner struct {
	last Local
	// nodes are those of the last plan, by name, and findings what became of each.
	nodes    []*Node
	findings []*finding
	// grants are all that are not refused, and refused those that are, with why.
	grants   grantIndex
	refused  map[*Node][]netip.Prefix
	refusals []Refusal
	// own are the accepted grants of the node whose plan it is.
	own         []netip.Prefix
	unreachable []*Route
	laneMTU     int
}

// finding is what became of a node.
type finding struct {
	// peer is nil where it became none.
	peer *Peer
	// mtu is that toward the peer, 0 where it is not known.
	mtu int
	// routes are those to the peer; nil before they are made.
	routes []*Route
	// called is the peer while this node calls it; nil before that.
	called   *Peer
	refusals []Refusal
	waiting  bool
	// adopted says that it depends on Local.Adopted.
	adopted bool
}

// Reset makes the next plan one from the ground. It is to be called when Local.PathMTU may give other answers than before.
func (p *Planner) Reset() { *p = Planner{} }

// Compute is the function Compute, of nodes that are sorted by name and never changed: one that is the same pointer as for the last plan is
// as it was.
func (p *Planner) Compute(local Local, nodes []*Node) Result {
	if !p.follows(local) || !p.update(&computation{local: local, refused: p.refused}, nodes) {
		p.begin(&computation{local: local}, nodes)
	}
	p.last, p.nodes = local, nodes
	return p.result()
}

// follows says whether what was found for the last plan holds for the next, as far as it does not depend on the nodes.
func (p *Planner) follows(local Local) bool {
	last := p.last
	return p.findings != nil && last.Name == local.Name && last.PublicKey == local.PublicKey && last.Interface == local.Interface &&
		last.MTU == local.MTU && (last.PathMTU == nil) == (local.PathMTU == nil) &&
		last.migrating() == local.migrating() && slices.Equal(last.Addresses, local.Addresses) &&
		(last.Mesh == nil) == (local.Mesh == nil) && slices.Equal(last.Mesh, local.Mesh) &&
		slices.Equal(last.ClusterCIDRs, local.ClusterCIDRs) && slices.Equal(last.ServiceCIDRs, local.ServiceCIDRs)
}

// begin looks at all nodes.
func (p *Planner) begin(c *computation, nodes []*Node) {
	p.grants = c.checkGrants(nodes)
	p.refused, p.refusals = c.refused, c.refusals
	p.own, p.laneMTU = nil, -1
	p.unreachable = unreachable(c.local.ClusterCIDRs)
	p.findings = make([]*finding, len(nodes))
	for i, n := range nodes {
		if n.Name == c.local.Name {
			p.own = slices.Concat(c.accepted(n))
		}
		p.findings[i] = c.find(n)
	}
}

// update looks at the nodes that have changed. It returns false where all must be looked at.
func (p *Planner) update(c *computation, nodes []*Node) bool {
	findings := make([]*finding, 0, len(nodes))
	old := 0
	for _, n := range nodes {
		if old < len(p.nodes) && p.nodes[old] == n && !p.findings[old].adopted {
			findings = append(findings, p.findings[old])
			old++
			continue
		}
		for ; old < len(p.nodes) && p.nodes[old].Name < n.Name; old++ {
			if !p.regrant(c, p.nodes[old], nil) {
				return false
			}
		}
		var before *Node
		if old < len(p.nodes) && p.nodes[old].Name == n.Name {
			before = p.nodes[old]
			old++
		}
		if before != n && !p.regrant(c, before, n) {
			return false
		}
		findings = append(findings, c.find(n))
	}
	for ; old < len(p.nodes); old++ {
		if !p.regrant(c, p.nodes[old], nil) {
			return false
		}
	}
	p.findings = findings
	return true
}

// regrant takes over what has changed of one node's grants, where that touches no other's. before or after is nil for a node that came or
// went.
func (p *Planner) regrant(c *computation, before, after *Node) bool {
	if before != nil && after != nil && slices.Equal(before.Grants, after.Grants) && older(before, after) == 0 {
		if refused, ok := c.refused[before]; ok {
			delete(c.refused, before)
			c.refused[after] = refused
		}
		return true
	}
	if len(c.refused) > 0 || !p.grants.apart {
		return false
	}
	if before != nil {
		if before.Name == c.local.Name {
			return false
		}
		for _, prefix := range before.Grants {
			p.grants.remove(prefix)
		}
	}
	if after != nil {
		if after.Name == c.local.Name {
			return false
		}
		for _, prefix := range after.Grants {
			if c.outside(prefix) != "" || !p.grants.add(prefix) {
				return false
			}
		}
	}
	return true
}

// find is what becomes of a node.
func (c *computation) find(n *Node) *finding {
	c.refusals, c.waiting = nil, false
	f := &finding{}
	if n.Name != c.local.Name {
		f.adopted = n.KeyHolder == ""
		f.peer, f.mtu = c.peer(n)
	} else {
		c.checkOwn(n)
	}
	f.refusals, f.waiting = c.refusals, c.waiting
	return f
}

// checkOwn refuses what of the own node is not used.
func (c *computation) checkOwn(n *Node) {
	if n.Malformed != "" {
		c.refuse(n.Name, Malformed, "%s", n.Malformed)
	}
	for _, d := range n.Doubts {
		c.refuse(n.Name, NotGranted, "block %s does not count: %s", d.CIDR, d.Why)
	}
}

// result puts together what was found.
func (p *Planner) result() Result {
	local, addresses := p.last, p.addresses()
	p.setLaneMTU()
	result := Result{Refusals: slices.Clone(p.refusals)}
	m := newMigration(local)
	peers := make([]*Peer, 0, len(p.findings))
	routes := append(make([]*Route, 0, len(p.unreachable)+2*len(p.findings)), p.unreachable...)
	for i, f := range p.findings {
		result.Refusals = append(result.Refusals, f.refusals...)
		if f.waiting {
			result.Waiting = append(result.Waiting, p.nodes[i].Name)
		}
		byLane := m.see(p.nodes[i], p.refused)
		if f.peer == nil {
			continue
		}
		if !byLane {
			peers = append(peers, f.calling())
			continue
		}
		if f.routes == nil {
			f.routes = laneRoutes(local.Interface, local.migrating(), addresses, f.peer.AllowedIPs, routeMTU(local, p.laneMTU, f.mtu))
		}
		peers, routes = append(peers, f.peer), append(routes, f.routes...)
	}
	result.InClear = m.inClear
	slices.SortFunc(result.Refusals, Refusal.compare)
	result.Refusals = slices.Compact(result.Refusals)
	result.Plan = Plan{
		Node: local.Name, Routes: routes, Migrated: m.migrated,
		Lanes: []Lane{{
			Name: local.Interface, PublicKey: local.PublicKey, ListenPort: local.ListenPort, MTU: p.laneMTU,
			Addresses: hostPrefixes(addresses), Peers: peers,
		}},
		Guard: Guard{
			Lanes: []string{local.Interface}, Cluster: slices.Concat(local.ClusterCIDRs), Own: slices.Concat(p.own), Mesh: addresses,
			PodLinks:   slices.Concat(local.PodLinks),
			NATExclude: slices.Concat(local.NATExclude), NATOff: local.natOff(p.own),
			OldLinks: slices.Concat(local.OldLinks), OldTo: m.to, OldFrom: m.from,
		},
	}
	if g := &result.Plan.Guard; len(g.NATExclude)+len(g.NATOff) > 0 {
		g.Nodes = p.nodeAddresses()
	}
	return result
}

// addresses are the node's mesh addresses.
func (p *Planner) addresses() []netip.Addr {
	if p.last.Mesh == nil {
		return Addresses(p.own)
	}
	return slices.DeleteFunc(slices.Clone(p.last.Mesh), func(addr netip.Addr) bool { return !contains(p.own, addr) })
}

// setLaneMTU follows the peers' MTUs. Each route depends on the lane's.
func (p *Planner) setLaneMTU() {
	largest := 0
	for _, f := range p.findings {
		if f.peer != nil {
			largest = max(largest, f.mtu)
		}
	}
	mtu := laneMTU(p.last, largest)
	if mtu == p.laneMTU {
		return
	}
	p.laneMTU = mtu
	for _, f := range p.findings {
		f.routes = nil
	}
}
