package agent

import (
	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/policy"
)

// tellTroubles tells of parts of policies that cannot be honoured as they are written, once when they begin, and of their end.
func (a *Agent) tellTroubles(objects *kube.Policies) {
	e, now := &a.enforcement, map[policy.Problem]bool{}
	for _, p := range e.index.Problems() {
		now[p] = true
	}
	for name, why := range e.unreadable {
		now[policy.Problem{Kind: string(kube.ClusterPolicyKind), Policy: name, Field: "spec", Detail: why + "; what was known of it holds"}] = true
	}
	events := a.podEvents.Load()
	for p := range now {
		if e.troubles[p] {
			continue
		}
		a.logger.Warn("a policy cannot be honoured as it is written", zap.String("kind", p.Kind), zap.String("namespace", p.Namespace),
			zap.String("policy", p.Policy), zap.String("field", p.Field), zap.String("detail", p.Detail))
		if events != nil {
			events.Policy(objects.Ref(kube.PolicyKind(p.Kind), p.Namespace, p.Policy), p.Field, p.Field+": "+p.Detail)
		}
	}
	for p := range e.troubles {
		if !now[p] {
			a.logger.Info("a policy can be honoured as it is written, or is gone", zap.String("kind", p.Kind), zap.String("namespace", p.Namespace),
				zap.String("policy", p.Policy), zap.String("field", p.Field))
		}
	}
	e.troubles = now
}
