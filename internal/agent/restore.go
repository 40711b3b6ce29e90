package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/wg"
)

// whileAway ends what is logged where the last good plan is not used.
const whileAway = "; what the kernel holds stays, and the API server says the rest"

// lastPlan is the last good plan on disk, nil where there is none that this agent can use.
func (a *Agent) lastPlan() *mesh.Plan {
	plan, err := a.keeper.store.Load(a.config.NodeName, a.identity().Public())
	if err == nil {
		err = a.fits(plan)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.logger.Info("there is no last good plan on disk", zap.String("file", a.keeper.store.Path()))
		return nil
	case err != nil:
		a.logger.Warn("the last good plan on disk is not used"+whileAway, zap.Error(err))
		return nil
	}
	if a.config.MTU != 0 {
		plan.Lanes[0].MTU = a.config.MTU
	}
	plan.Guard.PodLinks = a.config.PodLinks
	a.recall(&plan)
	plan.Guard.NATExclude = a.config.NATExclude
	if a.config.NoNAT {
		plan.Guard.NATOff = plan.Guard.Own
	}
	return &plan
}

// restore brings the mesh up from the last good plan, before the API server has said anything. It adds what the kernel lacks: what is
// there may be newer, and is kept. guarded says that the guard was there before this agent. Nothing that goes wrong here stops
// the agent.
func (a *Agent) restore(plan mesh.Plan, guarded bool) {
	a.mu.Lock()
	a.result.Plan = plan
	a.mu.Unlock()
	a.adopt(plan)
	added, err := a.applyMissing(plan, guarded)
	if err != nil {
		a.logger.Error("the last good plan could not be programmed whole"+whileAway, zap.Error(err))
	} else {
		a.carry()
	}
	a.logger.Info("the last good plan on disk is in the kernel, until the API server answers",
		zap.Int("peers", len(plan.Lanes[0].Peers)), zap.Int("added", added))
}

// fits is an error where the agent was configured otherwise when the plan was made.
func (a *Agent) fits(plan mesh.Plan) error {
	lane := plan.Lanes[0]
	switch {
	case lane.Name != a.config.Interface:
		return fmt.Errorf("it is for interface %s, and --interface is %s", lane.Name, a.config.Interface)
	case lane.ListenPort != a.config.ListenPort:
		return fmt.Errorf("it is for port %d, and --listen-port is %d", lane.ListenPort, a.config.ListenPort)
	case !slices.Equal(plan.Guard.Cluster, a.config.ClusterCIDRs):
		return fmt.Errorf("it is for the pod CIDRs %s, and --cluster-cidr is %s", plan.Guard.Cluster, a.config.ClusterCIDRs)
	}
	return nil
}

// applyMissing is apply for a plan that may be older than what the kernel holds: nothing is removed, and no peer that is there is
// changed. New peers are called once, so that those which still have a session with this node before its reboot give it up.
func (a *Agent) applyMissing(plan mesh.Plan, guarded bool) (added int, err error) {
	lane, key := plan.Lanes[0], a.identity()
	empty := lane
	empty.Peers = nil
	if err := a.device.Set(empty, key, wg.SetOptions{}); err != nil {
		return 0, fmt.Errorf("programming the wireguard: %w", err)
	}
	held, err := a.device.Peers()
	if err != nil {
		return 0, fmt.Errorf("reading the WireGuard device: %w", err)
	}
	fresh := len(held) == 0 // the kernel holds no mesh that could be newer
	addressed, err := a.addressed()
	if err != nil {
		return 0, err
	}
	lane.Peers, plan.Routes = missing(plan, held)
	_, err = a.program([]step{
		{part: "guard", sent: &a.sent.guard, do: func() error { return a.setGuard(plan.Guard) }, skip: guarded && !fresh},
		{part: "forwarding", sent: &a.sent.rtnetlink, do: func() error { return a.router.EnableForwarding(families(plan.Guard.Own)) }},
		{part: "wireguard", sent: &a.sent.wireguard, do: func() error { return a.device.Set(lane, key, wg.SetOptions{}) }, skip: len(lane.Peers) == 0},
		{part: "address", sent: &a.sent.rtnetlink, do: func() error { return a.router.SetAddresses(lane.Name, lane.Addresses, lane.MTU) }, skip: addressed && !fresh},
		{part: "route", sent: &a.sent.rtnetlink, do: func() error { return a.router.Add(plan.Routes) }},
		{part: "wireguard", sent: &a.sent.wireguard, do: func() error { return a.call(lane.Peers) }, skip: len(lane.Peers) == 0},
	})
	return len(lane.Peers), err
}

// missing are a plan's peers that the device does not hold, without the allowed IPs that would take something from one that it
// holds; and the routes to where a peer leads.
func missing(plan mesh.Plan, held []wg.PeerStatus) (peers []*mesh.Peer, routes []*mesh.Route) {
	has := make(map[identity.PublicKey]bool, len(held))
	leads := make(map[netip.Prefix]bool, 2*len(plan.Lanes[0].Peers))
	var taken []netip.Prefix
	for _, p := range held {
		has[p.PublicKey] = true
		taken = append(taken, p.AllowedIPs...)
	}
	for _, p := range taken {
		leads[p] = true
	}
	for _, peer := range plan.Lanes[0].Peers {
		if has[peer.PublicKey] {
			continue
		}
		rest := *peer
		rest.AllowedIPs = slices.DeleteFunc(slices.Clone(peer.AllowedIPs), func(p netip.Prefix) bool {
			return slices.ContainsFunc(taken, p.Overlaps)
		})
		if len(rest.AllowedIPs) == 0 {
			continue
		}
		peers = append(peers, &rest)
		for _, p := range rest.AllowedIPs {
			leads[p] = true
		}
	}
	for _, r := range plan.Routes {
		if r.Unreachable() || leads[r.Destination] {
			routes = append(routes, r)
		}
	}
	return peers, routes
}

// addressed says whether this node has an address in the mesh.
func (a *Agent) addressed() (bool, error) {
	all, err := a.router.LocalAddresses()
	if err != nil {
		return false, fmt.Errorf("listing this node's addresses: %w", err)
	}
	return slices.ContainsFunc(all, a.inCluster), nil
}

func (a *Agent) inCluster(addr netip.Addr) bool {
	return slices.ContainsFunc(a.config.ClusterCIDRs, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// call makes peers hear from this node once. A call that is lost is repeated by WireGuard itself.
func (a *Agent) call(peers []*mesh.Peer) error {
	keys := make([]identity.PublicKey, len(peers))
	for i, p := range peers {
		keys[i] = p.PublicKey
	}
	return errors.Join(a.device.Nudge(keys...), a.device.Settle())
}
