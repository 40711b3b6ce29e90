package agent

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/version"
	"github.com/warren-mesh/warren/mesh"
)

// publication is a claim and the Node, by its UID, that it is for.
type publication struct {
	claim mesh.Claim
	uid   string
}

// claim is what this node should say of itself, and what of its own Node could not be used for that.
func (a *Agent) claim(plan mesh.Plan, own kube.Own) (mesh.Claim, []mesh.Refusal) {
	var problems []mesh.Refusal
	malformed := func(detail string) {
		problems = append(problems, mesh.Refusal{Node: a.config.NodeName, Reason: mesh.Malformed, Detail: detail})
	}
	for _, problem := range own.Problems {
		malformed(problem)
	}
	endpoints, err := mesh.ParseEndpoints(mesh.AnnotationEndpointOverride, own.EndpointOverride)
	if err != nil {
		malformed(err.Error())
	}
	if len(endpoints) == 0 {
		for _, addr := range own.Addresses {
			endpoints = append(endpoints, netip.AddrPortFrom(addr, a.config.ListenPort))
		}
	}
	return mesh.Claim{
		PublicKey: a.key.Public(), Endpoints: endpoints, PodCIDRs: plan.Guard.Own, MeshAddresses: plan.Guard.Mesh,
		Version: version.String(),
	}, problems
}

// publish says the claim on the own Node where it does not say so already, after the key's NodeKey exists; and that the
// node's network is available, once it is.
func (a *Agent) publish(ctx context.Context) error {
	a.mu.Lock()
	want := a.wanted
	a.mu.Unlock()
	own := a.nodes.Snapshot().Own
	if !want.claim.Published() || !own.Exists || own.UID != want.uid {
		return nil // The next reconcile triggers again.
	}
	if a.keyHolder != want.uid {
		if err := a.kube.EnsureNodeKey(ctx, want.claim.PublicKey, want.uid); err != nil {
			return err
		}
		a.keyHolder = want.uid
	}
	if !own.Publishes(want.claim) {
		if err := a.kube.PublishClaim(ctx, want.uid, want.claim); err != nil {
			return fmt.Errorf("publishing on this node's Node: %w", err)
		}
		a.metrics.publishes.Inc()
		a.logger.Info("published", zap.Any("annotations", want.claim.Annotations()))
	}
	if a.programmed.Load() && len(want.claim.PodCIDRs) > 0 && own.NetworkUnavailable != "False" {
		if err := a.kube.SetNetworkAvailable(ctx); err != nil {
			return fmt.Errorf("setting the Node's NetworkUnavailable condition: %w", err)
		}
	}
	return nil
}

func (a *Agent) published(_ time.Duration, err error) {
	if err != nil {
		a.metrics.publishFailures.Inc()
		a.logger.Error("publishing failed; the mesh as it is goes on, and this is retried", zap.Error(err))
	}
}
