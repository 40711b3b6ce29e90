package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/mesh"
)

const (
	// reasonMigrating is that of the Event which says that pods' packets may leave in clear.
	reasonMigrating = "Migrating"
	// answerInterval is how often it is looked whether peers have answered, while some have not.
	answerInterval = time.Second
	// inFlight is for how long after the last packet that may have left in clear others let such packets in: for those that were under way when the
	// routes changed, or wait in a queue of a node that has no time for it. An announcement may overtake them.
	inFlight = 2 * time.Second
)

// migration is how far a node has come that is migrated from another network. What has been reached outlives the agent: the kernel has the
// routes, and the last good plan the names.
type migration struct {
	mu sync.Mutex // guards answered
	// answered are the nodes whose WireGuard has answered, ever, by name.
	answered map[string]bool

	// migrated are those to which the kernel has routes by the lane, sorted, and adopted says that the kernel was asked. Only reconcile uses
	// these and what follows.
	migrated []string
	adopted  bool
	// inClear says that others have to let in what leaves here in clear, and inClearUntil for how long they have to, once nothing does.
	inClear      bool
	inClearUntil time.Time
}

// migrating says whether the node may speak in clear to some.
func (a *Agent) migrating() bool { return len(a.config.MigrateFrom) > 0 }

// checkMigration refuses links that lead elsewhere than to the other nodes' pods.
func (a *Agent) checkMigration() error {
	if _, err := a.router.PodLinks(a.config.MigrateFrom, a.config.ClusterCIDRs); err != nil {
		return fmt.Errorf("nothing was started, because of --migrate-from: %w", err)
	}
	return nil
}

// tellMigration says that the switch is on.
func (a *Agent) tellMigration() {
	if !a.migrating() {
		return
	}
	note := fmt.Sprintf("--migrate-from is on: pods' packets may leave this node in clear by %s, to nodes that do not answer by WireGuard yet",
		strings.Join(a.config.MigrateFrom, ", "))
	a.logger.Warn(note)
	a.events.Event(kube.Warning, reasonMigrating, note, nil)
}

// fresh says whether nothing is known of a plan that this node ever had: one that is to be migrated is in clear until it has a first.
func (a *Agent) fresh() bool {
	_, err := a.keeper.store.Load(a.config.NodeName, a.identity().Public())
	return errors.Is(err, fs.ErrNotExist)
}

// recall takes from the last good plan what it says of this, and makes of it what it would be with the switch as it is now.
func (a *Agent) recall(plan *mesh.Plan) {
	plan.Guard.OldLinks = a.config.MigrateFrom
	if !a.migrating() {
		plan.Guard.OldTo, plan.Guard.OldFrom, plan.Migrated = nil, nil, nil
	}
	reached := map[netip.Prefix]bool{}
	for _, r := range plan.Routes {
		if !r.Unreachable() {
			r.Place(a.migrating())
			reached[r.Destination] = true
		}
	}
	if !a.migrating() {
		return
	}
	for _, peer := range plan.Lanes[0].Peers {
		if slices.ContainsFunc(peer.AllowedIPs, func(p netip.Prefix) bool { return reached[p] }) {
			plan.Migrated = append(plan.Migrated, peer.Node)
		}
	}
	slices.Sort(plan.Migrated)
	plan.Migrated = slices.Compact(plan.Migrated)
	a.moved(plan.Migrated)
}

// migrate puts into local how far the node has come.
func (a *Agent) migrate(local *mesh.Local, nodes []*mesh.Node) error {
	if !a.migrating() {
		return nil
	}
	m := &a.migration
	if !m.adopted {
		held, err := a.router.Migrated()
		if err != nil {
			return err
		}
		a.moved(append(holders(nodes, held), m.migrated...))
		m.adopted = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	there := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		there[n.Name] = true
	}
	// A Node that was deleted and comes back is a new one.
	maps.DeleteFunc(m.answered, func(name string, _ bool) bool { return !there[name] })
	local.OldLinks, local.Answered, local.Migrated = a.config.MigrateFrom, maps.Clone(m.answered), m.migrated
	return nil
}

// holders are the nodes that have one of these prefixes, by name. With a migration a node claims its grants as they are.
func holders(nodes []*mesh.Node, prefixes []netip.Prefix) (names []string) {
	held := make(map[netip.Prefix]bool, len(prefixes))
	for _, p := range prefixes {
		held[p] = true
	}
	for _, n := range nodes {
		if slices.ContainsFunc(n.Grants, func(grant netip.Prefix) bool { return held[grant] }) {
			names = append(names, n.Name)
		}
	}
	return names
}

// moved is told of the nodes to which the kernel has routes by the lane, and says whether there are new ones among them.
func (a *Agent) moved(names []string) (more bool) {
	m := &a.migration
	slices.Sort(names)
	names = slices.Compact(names)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answered == nil {
		m.answered = map[string]bool{}
	}
	for _, name := range names {
		m.answered[name] = true
		if _, found := slices.BinarySearch(m.migrated, name); !found {
			more = true
		}
	}
	m.migrated = names
	return more
}

// follow is told of a plan that the kernel holds: the next one lets nothing leave in clear to whom this one has a route to.
func (a *Agent) follow(result mesh.Result) {
	if a.migrating() && a.moved(slices.Clone(result.Plan.Migrated)) {
		a.logger.Info("nodes are reached by WireGuard, and no more in clear", zap.Strings("nodes", result.Plan.Migrated))
		a.reconcileLoop.Trigger()
	}
}

// sendsInClear says for a claim whether others have to let in what this node sends in clear: while the plan lets some out, and inFlight longer.
func (a *Agent) sendsInClear(plan mesh.Plan) bool {
	m := &a.migration
	switch now := time.Now(); {
	case len(plan.Guard.OldTo) > 0:
		m.inClear, m.inClearUntil = true, time.Time{}
	case !m.inClear:
	case m.inClearUntil.IsZero():
		m.inClearUntil = now.Add(inFlight)
		time.AfterFunc(inFlight, a.reconcileLoop.Trigger)
	default:
		m.inClear = now.Before(m.inClearUntil)
	}
	return m.inClear
}

// watchAnswers looks which peers have answered, until ctx ends: a handshake says that the peer has this node as its peer, and takes what it
// sends.
func (a *Agent) watchAnswers(ctx context.Context) {
	for a.migrating() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(answerInterval, readShare*deviceCost*time.Duration(a.peers()))):
		}
		answered, err := a.answers()
		if err != nil {
			a.logger.Debug("which peers have answered is not known; looking again", zap.Error(err))
		}
		if answered {
			a.reconcileLoop.Trigger()
		}
	}
}

// answers says whether peers have answered that had not before.
func (a *Agent) answers() (more bool, err error) {
	names := map[identity.PublicKey]string{}
	a.migration.mu.Lock()
	for _, lane := range a.Plan().Lanes {
		for _, p := range lane.Peers {
			if !a.migration.answered[p.Node] {
				names[p.PublicKey] = p.Node
			}
		}
	}
	a.migration.mu.Unlock()
	if len(names) == 0 {
		return false, nil
	}
	held, err := a.device.Peers()
	if err != nil {
		return false, err
	}
	a.migration.mu.Lock()
	defer a.migration.mu.Unlock()
	if a.migration.answered == nil {
		a.migration.answered = map[string]bool{}
	}
	for _, p := range held {
		if name, ok := names[p.PublicKey]; ok && !p.LastHandshake.IsZero() {
			a.migration.answered[name] = true
			more = true
		}
	}
	return more, nil
}

// soundOld leaves out the links of the network before that lead elsewhere by now.
func (a *Agent) soundOld(want *mesh.Guard) error {
	sound, err := a.router.PodLinks(want.OldLinks, a.config.ClusterCIDRs)
	want.OldLinks = sound
	if err != nil {
		return fmt.Errorf("of --migrate-from: %w", err)
	}
	return nil
}

// loosen lets packets in though the way back is another one: two nodes do not change their ways at the same instant.
func (a *Agent) loosen(lane string) error {
	if !a.migrating() {
		return nil
	}
	return a.router.Loosen(append([]string{lane}, a.config.MigrateFrom...)...)
}
