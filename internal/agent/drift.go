package agent

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/mesh"
)

const (
	// deviceInterval is how often the WireGuard device is read at most: nothing tells of changes to it.
	deviceInterval = 3 * time.Second
	// readShare bounds what that, and an audit, cost in a large mesh: one part in so many of a processor each.
	readShare = 500
	// deviceCost and auditCost are about what reading and comparing costs for each peer: of the device alone, and of its routes too.
	deviceCost = 20 * time.Microsecond
	auditCost  = 60 * time.Microsecond
	// elementCost is about the same for each element of policy's sets.
	elementCost = 5 * time.Microsecond
)

// deviceDue is the time between two readings of a device with so many peers. It does not follow from how long the last one took: on a
// busy machine that is mostly waiting, and the node would be blind for long.
func deviceDue(peers int) time.Duration {
	return max(deviceInterval, readShare*deviceCost*time.Duration(peers))
}

// auditDue is the time between two audits.
func auditDue(peers int) time.Duration {
	return max(auditInterval, readShare*auditCost*time.Duration(peers))
}

// policyDue is the time between two audits of policy's table, with so many elements. Nothing that happens reaches the kernel during one.
func policyDue(elements int) time.Duration {
	return max(auditInterval, readShare*elementCost*time.Duration(elements))
}

// sent counts what was sent to the kernel to change it, by whom it was sent to.
type sent struct{ guard, wireguard, rtnetlink atomic.Int64 }

// counted is f that also counts.
func counted(in *atomic.Int64, f func(n int)) func(n int) {
	return func(n int) {
		in.Add(int64(n))
		f(n)
	}
}

// drift tells of parts of the kernel's state that somebody else had changed, and that were put right: once for each time.
func (a *Agent) drift(parts []string) {
	if a.nudging.Load() {
		parts = slices.DeleteFunc(parts, func(part string) bool { return part == "wireguard" })
	}
	if len(parts) == 0 {
		return
	}
	a.tellDrift(parts)
}

// tellDrift tells of what was put right. Before the API server is asked there is nobody to write an Event.
func (a *Agent) tellDrift(parts []string) {
	a.metrics.drift.WithLabelValues(parts[0]).Inc()
	note := "put right what somebody else had changed on this node: " + strings.Join(parts, ", ")
	a.logger.Warn(note+"; find out who did, or it will come again", zap.Strings("parts", parts))
	if events := a.podEvents.Load(); events != nil {
		events.Drift(note, parts)
	}
}

// peers is how many the plan has.
func (a *Agent) peers() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return peersOf(a.result.Plan)
}

func peersOf(plan mesh.Plan) (count int) {
	for _, lane := range plan.Lanes {
		count += len(lane.Peers)
	}
	return count
}

// watchDevice reads the WireGuard device from time to time. Only where it is not as it was left the mesh is reconciled.
func (a *Agent) watchDevice(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(deviceDue(a.peers())):
		}
		if a.device.Audit() {
			a.reconcileLoop.Trigger()
		}
	}
}
