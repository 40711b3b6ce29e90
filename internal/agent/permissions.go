package agent

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
)

// An agent that lacks permissions, or whose question was not answered, asks again after a while that doubles.
const (
	permissionMin = time.Second
	permissionMax = time.Minute
)

// watchPermissions names what RBAC does not grant, once it was found twice: much of it would be noticed only when it is needed. It asks until nothing is
// missing, and returns.
func (a *Agent) watchPermissions(ctx context.Context) {
	var last, told []kube.Permission
	for interval := permissionMin; ctx.Err() == nil; interval = min(2*interval, permissionMax) {
		missing, err := a.kube.MissingPermissions(ctx, a.config.Mode != PolicyOnly, a.config.Policy)
		if err == nil && len(missing) == 0 {
			a.lack(nil)
			if len(told) > 0 {
				a.logger.Info("the API server grants the agent all that it needs now")
			}
			return
		}
		// An error is told by whoever needs an answer of the API server.
		if err == nil && slices.Equal(missing, last) && !slices.Equal(missing, told) {
			told = missing
			a.lack(missing)
			a.logger.Error("the API server does not let the agent do what it has to: does the ClusterRole warren say what manifests/base/rbac.yaml does?",
				zap.Stringers("missing", missing))
		}
		last = missing
		loop.Pause(ctx, interval)
	}
}

// lack keeps what is missing for who asks for the status.
func (a *Agent) lack(missing []kube.Permission) {
	var words []string
	for _, p := range missing {
		words = append(words, p.String())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lacking = words
}
