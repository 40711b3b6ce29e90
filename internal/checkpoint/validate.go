package checkpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// The limits of what the kernel takes.
const (
	maxLinkName  = 15 // bytes
	minMTU       = 68 // bytes, IPv4's
	maxMTU       = 65535
	maxKeepalive = 65535 * time.Second
)

// validate holds a plan to what mesh.Compute promises of every one: a file can no more widen what a node believes than a claim.
func validate(plan mesh.Plan) error {
	if plan.Node == "" || len(plan.Lanes) != 1 {
		return fmt.Errorf("it is of node %q and has %d lanes, want a name and 1", plan.Node, len(plan.Lanes))
	}
	lane := plan.Lanes[0]
	if err := validateGuard(plan.Guard, lane); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	if err := validateLane(lane, plan.Guard); err != nil {
		return fmt.Errorf("lane %q: %w", lane.Name, err)
	}
	if err := validatePeers(plan); err != nil {
		return err
	}
	for _, r := range plan.Routes {
		if r == nil {
			return errors.New("a route of it is null")
		}
		if err := validateRoute(r, lane.Name, plan.Guard); err != nil {
			return fmt.Errorf("route to %s: %w", r.Destination, err)
		}
	}
	return nil
}

func validateGuard(g mesh.Guard, lane mesh.Lane) error {
	if !slices.Equal(g.Lanes, []string{lane.Name}) {
		return fmt.Errorf("its lanes are %q", g.Lanes)
	}
	if len(g.Cluster) == 0 {
		return errors.New("it has no cluster CIDRs")
	}
	for _, p := range g.Cluster {
		if err := validatePrefix(p); err != nil {
			return err
		}
	}
	for _, p := range g.Own {
		if err := validateWithin(p, g.Cluster); err != nil {
			return err
		}
	}
	for _, a := range g.Mesh {
		if err := validateWithin(netip.PrefixFrom(a, a.BitLen()), g.Own); err != nil {
			return err
		}
	}
	for _, p := range slices.Concat(g.OldTo, g.OldFrom) {
		if err := validateWithin(p, g.Cluster); err != nil {
			return err
		}
	}
	return validateNAT(g)
}

func validateNAT(g mesh.Guard) error {
	for _, p := range g.NATExclude {
		if err := validatePrefix(p); err != nil {
			return err
		}
	}
	for _, p := range g.NATOff {
		if err := validateWithin(p, g.Own); err != nil {
			return err
		}
	}
	for _, a := range g.Nodes {
		if !usable(a) {
			return fmt.Errorf("a node's address %s is neither IPv4 nor IPv6", a)
		}
	}
	return nil
}

func validateLane(lane mesh.Lane, g mesh.Guard) error {
	same := func(p netip.Prefix, a netip.Addr) bool { return p == netip.PrefixFrom(a, a.BitLen()) }
	switch {
	case lane.Name == "" || len(lane.Name) > maxLinkName:
		return fmt.Errorf("a link's name has 1 to %d bytes", maxLinkName)
	case lane.PublicKey.IsZero():
		return errors.New("it has no public key")
	case lane.MTU < minMTU || lane.MTU > maxMTU:
		return fmt.Errorf("its MTU is %d", lane.MTU)
	case !slices.EqualFunc(lane.Addresses, g.Mesh, same):
		return fmt.Errorf("its addresses are %s, and the mesh addresses %s", lane.Addresses, g.Mesh)
	}
	return nil
}

// validatePeers also wants every key, name and allowed IP to be one peer's.
func validatePeers(plan mesh.Plan) error {
	keys := map[identity.PublicKey]bool{plan.Lanes[0].PublicKey: true}
	names := map[string]bool{plan.Node: true}
	owners := map[netip.Prefix]string{}
	for _, peer := range plan.Lanes[0].Peers {
		if peer == nil {
			return errors.New("a peer of it is null")
		}
		err := validatePeer(peer, plan.Guard)
		switch {
		case err != nil:
		case keys[peer.PublicKey] || names[peer.Node]:
			err = errors.New("its key or its name is another's too")
		default:
			err = own(owners, peer)
		}
		if err != nil {
			return fmt.Errorf("peer %q: %w", peer.Node, err)
		}
		keys[peer.PublicKey], names[peer.Node] = true, true
	}
	return nil
}

func own(owners map[netip.Prefix]string, peer *mesh.Peer) error {
	for _, p := range peer.AllowedIPs {
		if owner, taken := owners[p]; taken && owner != peer.Node {
			return fmt.Errorf("%s is peer %q's", p, owner)
		}
		owners[p] = peer.Node
	}
	return nil
}

func validatePeer(peer *mesh.Peer, g mesh.Guard) error {
	switch endpoint := peer.Endpoint; {
	case peer.Node == "" || peer.PublicKey.IsZero():
		return errors.New("it has no name or no public key")
	case endpoint != netip.AddrPort{} && (!usable(endpoint.Addr()) || endpoint.Port() == 0):
		return fmt.Errorf("its endpoint is %s", endpoint)
	case peer.Keepalive < 0 || peer.Keepalive > maxKeepalive:
		return fmt.Errorf("its keepalive is %s", peer.Keepalive)
	case len(peer.AllowedIPs) == 0:
		return errors.New("it has no allowed IPs")
	}
	for _, p := range peer.AllowedIPs {
		if err := validateWithin(p, g.Cluster); err != nil {
			return err
		}
		if slices.ContainsFunc(g.Own, p.Overlaps) {
			return fmt.Errorf("%s overlaps this node's own pod CIDRs", p)
		}
	}
	return nil
}

func validateRoute(r *mesh.Route, lane string, g mesh.Guard) error {
	switch {
	case r.Table != 0 && (r.Table != mesh.MigrationTable || r.Unreachable() || r.Destination.Addr().Is6()):
		return fmt.Errorf("it is in table %d", r.Table)
	case !r.Unreachable() && r.Metric != 0 && (r.Metric != mesh.MigrationMetric || r.Destination.Addr().Is4()):
		return fmt.Errorf("its metric is %d", r.Metric)
	case r.Device != lane && !r.Unreachable():
		return fmt.Errorf("it leaves by %q", r.Device)
	case r.Unreachable() && (r.Source.IsValid() || r.Metric != mesh.UnreachableMetric):
		return errors.New("it is unreachable with a source, or not the last resort")
	case r.MTU != 0 && (r.Unreachable() || r.MTU < minMTU || r.MTU > maxMTU):
		return fmt.Errorf("its MTU is %d", r.MTU)
	case r.Source.IsValid() && !slices.Contains(g.Mesh, r.Source):
		return fmt.Errorf("its source %s is no mesh address", r.Source)
	}
	return validateWithin(r.Destination, g.Cluster)
}

// validateWithin wants a prefix that one of these contains.
func validateWithin(p netip.Prefix, outer []netip.Prefix) error {
	if err := validatePrefix(p); err != nil {
		return err
	}
	contains := func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) }
	if !slices.ContainsFunc(outer, contains) {
		return fmt.Errorf("%s is in none of %s", p, outer)
	}
	return nil
}

func validatePrefix(p netip.Prefix) error {
	if !p.IsValid() || !usable(p.Addr()) || p != p.Masked() {
		return fmt.Errorf("%s is no masked IPv4 or IPv6 prefix", p)
	}
	return nil
}

// usable addresses are IPv4 or IPv6, neither one as the other, and of every link.
func usable(a netip.Addr) bool { return a.IsValid() && !a.Is4In6() && a.Zone() == "" }
