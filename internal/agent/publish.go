package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/version"
	"github.com/warren-mesh/warren/mesh"
)

// labelled is how long mesh.LabelChanged stays after a claim changed. Who watches sees it come and go however short that is; but either
// is a message to every node, and a claim that changes several times, as where a node starts, should have few of them. As long as the
// label is there the Node's heartbeats, too, are told with its claim.
const labelled = 30 * time.Second

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
		PublicKey: a.identity().Public(), Endpoints: endpoints, PodCIDRs: plan.Guard.Own, MeshAddresses: plan.Guard.Mesh,
		Version: version.String(), ClockSteps: a.clock.Steps(), Migrating: a.sendsInClear(plan),
	}, problems
}

// publish says the claim on the own Node where it does not say so already, after the key's NodeKey exists; and that the
// node's network is available, once it is.
func (a *Agent) publish(ctx context.Context) error {
	a.mu.Lock()
	want := a.wanted
	a.mu.Unlock()
	own := a.nodes.Snapshot().Own
	if !a.applied.Load() || !want.claim.Published() || !own.Exists || own.UID != want.uid {
		return nil // The next reconcile triggers again.
	}
	if err := a.holdKey(ctx, want); err != nil {
		return err
	}
	if !own.Publishes(want.claim) {
		if err := a.kube.PublishClaim(ctx, want.uid, want.claim); err != nil {
			return fmt.Errorf("publishing on this node's Node: %w", err)
		}
		a.unlabelAt = time.Time{}
		a.metrics.publishes.Inc()
		a.logger.Info("published", zap.Any("annotations", want.claim.Annotations()))
	}
	if a.unlabelDue(own) {
		if err := a.kube.Unlabel(ctx, want.uid); err != nil {
			return fmt.Errorf("on this node's Node: %w", err)
		}
	}
	if a.programmed.Load() && len(want.claim.PodCIDRs) > 0 && own.NetworkUnavailable != "False" {
		if err := a.kube.SetNetworkAvailable(ctx); err != nil {
			return fmt.Errorf("setting the Node's NetworkUnavailable condition: %w", err)
		}
	}
	return nil
}

// unlabelDue says whether the label has stood for long enough, whoever put it there: this agent, the one before it, or somebody by hand.
func (a *Agent) unlabelDue(own kube.Own) bool {
	switch {
	case !own.Labelled:
		a.unlabelAt = time.Time{}
		return false
	case a.unlabelAt.IsZero():
		a.unlabelAt = time.Now().Add(labelled)
		time.AfterFunc(labelled, a.publishLoop.Trigger)
	}
	return !time.Now().Before(a.unlabelAt)
}

// holdKey makes the key's NodeKey, or renews its owner: for each new Node object, and where somebody deleted it.
func (a *Agent) holdKey(ctx context.Context, want publication) error {
	if a.keyHolder == want.uid && a.nodes.KeyHolder(want.claim.PublicKey) == a.config.NodeName {
		return nil
	}
	err := a.kube.EnsureNodeKey(ctx, want.claim.PublicKey, want.uid)
	if errors.Is(err, kube.ErrKeyTaken) {
		return errors.Join(err, a.renewKey(want.claim.PublicKey))
	}
	if err != nil {
		return err
	}
	a.keyHolder = want.uid
	return nil
}

// renewKey makes a new key where another Node holds ours: while our Node was deleted, its NodeKey was too, and anybody could take the
// name. Peers refuse the old key whatever we do.
func (a *Agent) renewKey(taken identity.PublicKey) error {
	key, err := identity.Replace(a.config.StateDir, taken)
	if err != nil {
		return fmt.Errorf("making a new key: %w", err)
	}
	a.mu.Lock()
	a.key = key
	a.mu.Unlock()
	a.logger.Warn("another Node holds this node's public key (see its NodeKey): made a new key; find out who took the old one",
		zap.Stringer("taken", taken), zap.Stringer("publicKey", key.Public()))
	a.reconcileLoop.Trigger()
	return nil
}

func (a *Agent) published(_ time.Duration, err error) {
	if err != nil {
		a.metrics.publishFailures.Inc()
		a.logger.Error("publishing failed; the mesh as it is goes on, and this is retried", zap.Error(err))
	}
}
