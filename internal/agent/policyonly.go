package agent

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/pods"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/version"
	"github.com/warren-mesh/warren/mesh/guard"
)

var (
	errNoMesh      = errors.New("there is no mesh here: warrend runs with --mode=policy")
	errMeshRemains = errors.New("nothing was started: Warren's mesh of another --mode is on this node (nftables table inet warren-mesh), " +
		"and its guard would drop what the other network carries: `warren uninstall` removes it")
	errNotPoliced = errors.New("policies are not in the kernel yet: waiting for the API server")
)

// runPolicyOnly is Run of an agent that enforces policy on another network's pods. It has no key, device, routes or guard, and writes nothing but
// Events.
func runPolicyOnly(ctx context.Context, config Config, logger *zap.Logger) error {
	a := &Agent{config: config, logger: logger}
	a.metrics = newMetrics(a)
	defer func() { _ = a.close() }()
	if err := a.startPolicyOnly(ctx); err != nil {
		return err
	}
	logger.Info("starting", zap.String("version", version.String()), zap.String("node", config.NodeName), zap.String("mode", string(config.Mode)))
	if err := a.restorePolicy(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	recorder, err := a.kube.NewRecorder(ctx)
	if err != nil {
		return err
	}
	a.podEvents.Store(recorder)
	group.Go(func() error { return socket.Serve(ctx, config.Socket, a) })
	group.Go(func() error { a.residents.loop.Run(ctx); return nil })
	group.Go(func() error { a.theirs.loop.Run(ctx); return nil })
	group.Go(func() error { return a.followLinks(ctx) })
	group.Go(func() error { a.watchPermissions(ctx); return nil })
	group.Go(func() error { return a.serveHTTP(ctx) })
	group.Go(func() error { return a.police(ctx) })
	err = group.Wait()
	a.enforcement.keep.flush(a)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	logger.Info("stopped; what is in the kernel stays")
	return nil
}

// startPolicyOnly opens what the agent needs. Nothing in the kernel is changed yet.
func (a *Agent) startPolicyOnly(ctx context.Context) (err error) {
	if err := noMesh(); err != nil {
		return err
	}
	if err := identity.Prepare(a.config.StateDir); err != nil {
		return fmt.Errorf("preparing --state-dir: %w", err)
	}
	if err := a.openPolicy(ctx); err != nil {
		return err
	}
	if err := a.openPods(); err != nil {
		return err
	}
	if err := a.openTheirs(); err != nil {
		return err
	}
	a.kube, err = kube.New(kube.Options{Kubeconfig: a.config.Kubeconfig, UserAgent: "warrend/" + version.String(), NodeName: a.config.NodeName})
	if err != nil {
		return fmt.Errorf("making the API client: %w", err)
	}
	return nil
}

// noMesh is an error where an agent of another mode has left its guard.
func noMesh() error {
	g, err := guard.New(guard.Options{})
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	present, err := g.Present()
	if err == nil && present {
		err = errMeshRemains
	}
	return errors.Join(err, g.Close())
}

// policyGate lets pods of another plugin start.
func (a *Agent) policyGate(ctx context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	gate := pods.PolicyGate{Stands: a.policyStands, Lead: a.theirs.leads.To, Bind: a.bindTheirs}
	return gate.Call(ctx, command, r)
}

// policyStands is an error where the kernel takes no rules. That the API server has not told of everything yet is none: a pod whose rules are on
// disk need not wait for it.
func (a *Agent) policyStands() error {
	if problem := a.enforcement.problem.String(); problem != "" {
		return errors.New(problem)
	}
	return nil
}

// policyProblem is what is in the way of policy, and whether it is in the kernel.
func (a *Agent) policyProblem() (problem string, ready bool) {
	for _, p := range []string{a.enforcement.problem.String(), a.theirs.problem.String(), a.residents.problem.String()} {
		if p != "" {
			return p, false
		}
	}
	return "", a.programmed.Load()
}

// policyStatus is Status with PolicyOnly.
func (a *Agent) policyStatus() socket.Status {
	problem, ready := a.policyProblem()
	if !ready && problem == "" {
		problem = errNotPoliced.Error()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return socket.Status{
		Node: a.config.NodeName, Version: version.String(), Ready: ready, Problem: problem, Mode: string(a.config.Mode), Policy: true,
		Lacking: a.lacking, PolicedLinks: a.theirs.policed(), Unpoliced: a.theirs.looseTexts(),
	}
}
