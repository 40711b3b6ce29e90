package mesh

import (
	"fmt"
	"net/netip"
	"strings"
)

// String is the plan as `wg`, `ip` and `nft` would print it.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# node %s\n", p.Node)
	for _, lane := range p.Lanes {
		lane.write(&b)
	}
	b.WriteString("\n# ip route\n")
	for _, r := range p.Routes {
		fmt.Fprintln(&b, r)
	}
	fmt.Fprintf(&b, "\n# nft list table inet %s\n%s", GuardTable, p.Guard)
	return b.String()
}

func (l Lane) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n# ip address show dev %s\nmtu %d\n", l.Name, l.MTU)
	for _, a := range l.Addresses {
		fmt.Fprintf(b, "%s %s\n", inet(a.Addr()), a)
	}
	fmt.Fprintf(b, "\n# wg show %s\ninterface: %s\n  public key: %s\n  listening port: %d\n", l.Name, l.Name, l.PublicKey, l.ListenPort)
	for _, peer := range l.Peers {
		fmt.Fprintf(b, "\n# node %s\npeer: %s\n", peer.Node, peer.PublicKey)
		if peer.Endpoint.IsValid() {
			fmt.Fprintf(b, "  endpoint: %s\n", peer.Endpoint)
		}
		fmt.Fprintf(b, "  allowed ips: %s\n", list(peer.AllowedIPs))
		if peer.Keepalive != 0 {
			fmt.Fprintf(b, "  persistent keepalive: every %.0f seconds\n", peer.Keepalive.Seconds())
		}
	}
}

// String is the route as `ip route` prints it.
func (r *Route) String() string {
	if r.Unreachable() {
		return fmt.Sprintf("unreachable %s proto %d metric %d", r.Destination, RouteProtocol, r.Metric)
	}
	text := fmt.Sprintf("%s dev %s proto %d src %s", r.Destination, r.Device, RouteProtocol, r.Source)
	if r.Metric != 0 {
		text += fmt.Sprintf(" metric %d", r.Metric)
	}
	if r.MTU != 0 {
		text += fmt.Sprintf(" mtu %d", r.MTU)
	}
	if r.Table != 0 {
		text += fmt.Sprintf(" table %d", r.Table)
	}
	return text
}

// String is what the guard's table is made of.
func (g Guard) String() string {
	text := fmt.Sprintf("lanes: %s\ncluster: %s\nown: %s\nmesh addresses: %s\n",
		strings.Join(g.Lanes, ", "), list(g.Cluster), list(g.Own), list(g.Mesh))
	if len(g.PodLinks) > 0 {
		text += fmt.Sprintf("another plugin's pods: %s\n", strings.Join(g.PodLinks, ", "))
	}
	if len(g.NATExclude)+len(g.NATOff) > 0 {
		text += fmt.Sprintf("not natted to: %s\nnot natted from: %s\nnatted to the nodes: %s\n", list(g.NATExclude), list(g.NATOff), list(g.Nodes))
	}
	if len(g.OldLinks) > 0 {
		text += fmt.Sprintf("migrated from: %s\nin clear to: %s\nin clear from: %s\n", strings.Join(g.OldLinks, ", "), list(g.OldTo), list(g.OldFrom))
	}
	return text
}

func list[T fmt.Stringer](items []T) string {
	if len(items) == 0 {
		return "(none)"
	}
	return strings.ReplaceAll(join(items), ",", ", ")
}

func inet(a netip.Addr) string {
	if a.Is4() {
		return "inet"
	}
	return "inet6"
}
