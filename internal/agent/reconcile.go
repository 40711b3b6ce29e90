package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/route"
	"github.com/warren-mesh/warren/mesh/wg"
)

// errNoNode is the state of a node that has not registered yet, or was deleted: what is in the kernel stays as it is.
var errNoNode = errors.New("this node's own Node object does not exist (yet); check --node-name against `kubectl get nodes`")

// errNewKey ends a reconcile that began with the key before: another follows.
var errNewKey = errors.New("the node's key was replaced meanwhile")

// identity is the node's key.
func (a *Agent) identity() identity.PrivateKey {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.key
}

// reconcile brings the kernel to what follows from all Nodes as they are now.
func (a *Agent) reconcile(_ context.Context) error {
	snapshot := a.nodes.Snapshot()
	if !snapshot.Own.Exists {
		return errNoNode
	}
	if a.unsettled(snapshot) {
		return nil // The blocks' loop triggers again.
	}
	a.forget()
	local, err := a.local(snapshot)
	if err != nil {
		return err
	}
	if err := a.migrate(&local, snapshot.Nodes); err != nil {
		return err
	}
	start := time.Now()
	result := a.planner.Compute(local, snapshot.Nodes)
	a.metrics.observe("compute", start, nil)
	claim, problems := a.claim(result.Plan, snapshot.Own)
	result.Refusals = slices.Concat(result.Refusals, problems, snapshot.Refusals)
	a.remember(result, claim, snapshot)
	err = a.apply(result.Plan)
	a.applied.Store(true)
	a.publishLoop.Trigger()
	if err != nil {
		return err
	}
	a.programmed.Store(true)
	a.carry()
	a.keeper.keep(result.Plan)
	a.adopt(result.Plan)
	a.follow(result)
	return nil
}

// local is what this node knows of itself.
func (a *Agent) local(snapshot kube.Snapshot) (mesh.Local, error) {
	local := mesh.Local{
		Name: a.config.NodeName, PublicKey: a.identity().Public(), Interface: a.config.Interface, ListenPort: a.config.ListenPort,
		MTU: a.config.MTU, ClusterCIDRs: a.config.ClusterCIDRs, ServiceCIDRs: a.config.ServiceCIDRs,
		Addresses: snapshot.Own.Addresses, Mesh: a.meshAddresses(snapshot), Adopted: a.adopted,
		NATExclude: a.config.NATExclude, NoNAT: a.config.NoNAT, NATOff: natOff(snapshot.Pools), PodLinks: a.config.PodLinks,
	}
	if len(local.ServiceCIDRs) == 0 {
		local.ServiceCIDRs = snapshot.ServiceCIDRs
	}
	if local.MTU == 0 {
		mtu, err := a.router.Underlay(local.Addresses)
		switch {
		case err == nil:
			a.underlayMTU = mtu
		case !errors.Is(err, route.ErrNoLink) || a.underlayMTU == 0:
			return mesh.Local{}, fmt.Errorf("finding the underlay's MTU (or give --mtu): %w", err)
		}
		// Where no link holds the Node's addresses, they have just changed and the Node has not followed yet.
		local.UnderlayMTU, local.PathMTU = a.underlayMTU, a.router.PathMTU
	}
	return local, nil
}

// adopt remembers the peers that are in use: of thousands, those that are others than before.
func (a *Agent) adopt(plan mesh.Plan) {
	if a.adopted == nil {
		a.adopted = map[string]identity.PublicKey{}
	}
	before, now := a.changed(plan.Lanes[0].Peers)
	for _, peer := range before {
		delete(a.adopted, peer.Node)
	}
	for _, peer := range now {
		a.adopted[peer.Node] = peer.PublicKey
	}
	a.peersInUse = plan.Lanes[0].Peers
}

// changed are the peers among which those in use and these differ.
func (a *Agent) changed(peers []*mesh.Peer) (before, now []*mesh.Peer) {
	return mesh.Trim(a.peersInUse, peers, (*mesh.Peer).Equal)
}

// forget drops what is remembered of the kernel where there is reason to think that somebody else changed it, and from time to
// time without one.
func (a *Agent) forget() {
	routes := a.auditRoutes.Swap(false)
	asked := a.audit.Swap(false)
	if asked {
		a.device.Forget()
	}
	if asked || time.Since(a.audited) >= auditDue(a.peers()) {
		a.audited = time.Now()
		a.guard.Forget()
		a.device.Audit()
		a.router.ForgetPaths()
		a.repathed.Store(true)
		routes = true
	}
	if a.repathed.Swap(false) {
		a.planner.Reset()
	}
	if routes {
		a.router.Forget()
	}
}

// apply is the order that keeps the promises: the guard before the first route, peers before the routes to them, and
// routes gone before their peers.
func (a *Agent) apply(plan mesh.Plan) error {
	lane, key := plan.Lanes[0], a.identity()
	if key.Public() != lane.PublicKey {
		return errNewKey
	}
	changed, err := a.program([]step{
		{part: "guard", sent: &a.sent.guard, do: func() error { return a.setGuard(plan.Guard) }},
		{part: "forwarding", sent: &a.sent.rtnetlink, do: func() error { return a.router.EnableForwarding(families(plan.Guard.Own)) }},
		{part: "wireguard", sent: &a.sent.wireguard, do: func() error { return a.renew(lane.Peers) }},
		{part: "wireguard", sent: &a.sent.wireguard, do: func() error { return a.device.Set(lane, key, wg.SetOptions{}) }},
		{part: "filter", sent: &a.sent.rtnetlink, do: func() error { return a.loosen(lane.Name) }},
		{part: "address", sent: &a.sent.rtnetlink, do: func() error { return a.router.SetAddresses(lane.Name, lane.Addresses, lane.MTU) }},
		{part: "route", sent: &a.sent.rtnetlink, do: func() error { return a.router.Set(plan.Routes) }},
		{part: "wireguard", sent: &a.sent.wireguard, do: func() error { return a.device.Set(lane, key, wg.SetOptions{Prune: true}) }},
	})
	if plan.Equal(a.held) {
		a.drift(changed)
	}
	if a.held = plan; err != nil {
		a.held = mesh.Plan{} // what the next run sends is what is missing of this one
	}
	return err
}

// setGuard does not let the guard take somebody else's link for the lane of that name, nor one that leads elsewhere for a pod's: it would
// let pods' packets through there in clear, and nothing of the link's own.
func (a *Agent) setGuard(want mesh.Guard) error {
	var foreign *wg.ForeignError
	switch err := a.device.Check(a.config.Interface); {
	case errors.As(err, &foreign):
		want.Lanes = nil
	case err != nil:
		return err
	}
	sound, misled := a.router.PodLinks(want.PodLinks, a.config.ClusterCIDRs)
	want.PodLinks = sound
	old := a.soundOld(&want)
	return errors.Join(a.guard.Set(want), misled, old)
}

// remember keeps what was found for the publisher, the socket and the metrics, and tells of refusals that began or ended.
func (a *Agent) remember(result mesh.Result, claim mesh.Claim, snapshot kube.Snapshot) {
	a.mu.Lock()
	a.result, a.wanted = result, publication{claim: claim, uid: snapshot.Own.UID}
	began, ended := a.refusals.update(result.Refusals)
	a.mu.Unlock()
	for _, r := range began {
		a.logger.Warn("refused; the rest is used", zap.Object("refusal", loggedRefusal(r)))
		a.events.Event(kube.Warning, string(r.Reason), refusalNote(r), find(snapshot.Nodes, r.Node))
	}
	for _, r := range ended {
		a.logger.Info("no longer refused", zap.Object("refusal", loggedRefusal(r)))
	}
}

// reconciled tells of a run's end: failures once when they begin or change, and their end.
func (a *Agent) reconciled(took time.Duration, err error) {
	a.metrics.synced(took, err)
	if err != nil {
		a.audit.Store(true)
	}
	switch began, ended := a.problem.update(err); {
	case began:
		a.logger.Error("the mesh could not be programmed; retrying", zap.Error(err))
	case ended:
		a.logger.Info("the mesh is programmed again", zap.Int("peers", a.peers()))
	default:
		a.logger.Debug("reconciled", zap.Duration("took", took), zap.Int("peers", a.peers()))
	}
}

// families says which IP families the prefixes have.
func families(prefixes []netip.Prefix) (ipv4, ipv6 bool) {
	is4 := func(p netip.Prefix) bool { return p.Addr().Is4() }
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	return slices.ContainsFunc(prefixes, is4), slices.ContainsFunc(prefixes, is6)
}

// natOff are the prefixes of pools whose pods keep their own addresses.
func natOff(pools []ipam.Pool) []netip.Prefix {
	var off []netip.Prefix
	for _, p := range pools {
		if !p.NATOutgoing {
			off = append(off, p.CIDR)
		}
	}
	return off
}
