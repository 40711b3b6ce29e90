package mesh

import (
	"net/netip"
	"time"
)

// callInterval is the keepalive toward a peer that has not answered yet: nothing is sent to it by the lane before, so nothing else would
// make WireGuard call it.
const callInterval = 5 * time.Second

// migrating says whether the node leaves another network.
func (l Local) migrating() bool { return len(l.OldLinks) > 0 }

// Place puts a lane's route where it wins over another network's to the same prefix or, where the node is not migrated, where it always is.
func (r *Route) Place(migrating bool) {
	r.Table, r.Metric = 0, 0
	switch {
	case !migrating:
	case r.Destination.Addr().Is4():
		r.Table = MigrationTable
	default:
		r.Metric = MigrationMetric
	}
}

// Migrating says whether a lane's route is where it wins over another network's.
func (r *Route) Migrating() bool { return r.Table == MigrationTable || r.Metric == MigrationMetric }

// migration says, node by node, which way leads to each while one network is left for another. The new way is there before the old one
// goes: a node is reached by a lane once its WireGuard has answered, and is not to be sent to in clear once the kernel has that route. It is
// heard in clear for as long as it may not have come as far itself. No node goes back.
type migration struct {
	local Local
	// done are the nodes to which the kernel has routes by a lane.
	done     map[string]bool
	migrated []string
	inClear  []string
	to, from []netip.Prefix
}

func newMigration(local Local) *migration {
	m := &migration{local: local, done: make(map[string]bool, len(local.Migrated))}
	for _, name := range local.Migrated {
		m.done[name] = true
	}
	return m
}

// see looks at the next node, and says whether it is reached by a lane, if it is a peer at all.
func (m *migration) see(n *Node, refused map[*Node][]netip.Prefix) (byLane bool) {
	if !m.local.migrating() || n.Name == m.local.Name {
		return true
	}
	byLane = m.local.Answered[n.Name]
	if byLane {
		m.migrated = append(m.migrated, n.Name)
	}
	grants := (&computation{refused: refused}).accepted(n)
	if !m.done[n.Name] && len(grants) > 0 {
		m.inClear = append(m.inClear, n.Name)
		m.to = append(m.to, grants...)
	}
	if !m.done[n.Name] || n.Claim.Migrating {
		m.from = append(m.from, grants...)
	}
	return byLane
}

// calling is the peer with a keepalive that makes it answer.
func (f *finding) calling() *Peer {
	if f.called == nil {
		called := *f.peer
		called.Keepalive = callInterval
		f.called = &called
	}
	return f.called
}
