package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/kube"
)

const (
	// deviceInterval is how often the WireGuard device is read at most: nothing tells of changes to it.
	deviceInterval = 3 * time.Second
	// deviceShare bounds what that costs in a large mesh: one part in so many of a processor.
	deviceShare = 250
)

// counted is f that also counts in sent.
func (a *Agent) counted(f func(n int)) func(n int) {
	return func(n int) {
		a.sent.Add(int64(n))
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
	a.metrics.drift.WithLabelValues(parts[0]).Inc()
	note := "put right what somebody else had changed on this node: " + strings.Join(parts, ", ")
	a.logger.Warn(note+"; find out who did, or it will come again", zap.Strings("parts", parts))
	a.events.Event(kube.Warning, "Drift", note, nil)
}

// watchDevice has the WireGuard device read from time to time.
func (a *Agent) watchDevice(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(deviceInterval, deviceShare*time.Duration(a.took.Load()))):
		}
		a.auditDevice.Store(true)
		a.reconcileLoop.Trigger()
	}
}
