// Package agent joins Warren's parts on one node. Its loops take their desired state whole and may run at any time: reconcile (Nodes to
// kernel), publish (own claim to own Node), repair (kernel events to reconcile), and those that look from time to time: at the
// device, the paths, the clock and the checkpoint. Here errors are logged, counted and retried.
package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/internal/clock"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/version"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/guard"
	"github.com/warren-mesh/warren/mesh/route"
	"github.com/warren-mesh/warren/mesh/wg"
)

// Agent is one node's.
type Agent struct {
	config  Config
	logger  *zap.Logger
	kube    *kube.Client
	nodes   *kube.Watcher
	events  *kube.Recorder
	guard   *guard.Guard
	device  *wg.Device
	router  *route.Router
	metrics *metrics
	keeper  *keeper
	clock   *clock.Record
	// residents are the node's pods; podEvents is where they are told of, nil until the API server can be.
	residents residents
	rush      rush
	// holdings are the node's blocks.
	holdings holdings
	// enforcement is of policy.
	enforcement enforcement
	// theirs are, with PolicyOnly, the links of another plugin's pods.
	theirs    theirs
	podEvents atomic.Pointer[kube.Recorder]
	// problem is what the last reconcile failed with.
	problem problem

	reconcileLoop *loop.Runner
	publishLoop   *loop.Runner
	pathLoop      *loop.Runner
	// audit asks the next reconcile to read the kernel rather than to trust what is remembered.
	audit atomic.Bool
	// audited is when that was last done. Only reconcile uses it.
	audited time.Time
	// auditRoutes asks the same for the routes alone.
	auditRoutes atomic.Bool
	// repathed says that the paths to the peers may have other MTUs.
	repathed atomic.Bool
	// planner makes the plans. Only reconcile uses it.
	planner mesh.Planner
	sent    sent
	// held is the plan of the last reconcile: what is sent for the same plan again puts right what somebody else did. Only
	// reconcile uses it.
	held mesh.Plan
	// nudging says that peers are being called, which changes them for a while.
	nudging atomic.Bool
	// applied says that a plan was brought to the kernel once, as far as that went. Who hears of this node before would call it in
	// vain, and try again after 5 s.
	applied atomic.Bool
	// programmed says that the plan has been in the kernel once.
	programmed atomic.Bool
	// carries says that the mesh can carry what pods send: by a plan of this agent, or by the last good one on disk.
	carries atomic.Bool
	// underlayMTU is the last one known, in bytes. Only reconcile uses it.
	underlayMTU int
	// migration is from the network that was there before.
	migration migration
	// peersInUse are the last that the kernel took, and adopted their keys by node. Only reconcile uses them.
	peersInUse []*mesh.Peer
	adopted    map[string]identity.PublicKey
	// keyHolder is the UID of the Node for which the NodeKey was seen to be. Only publish uses it.
	keyHolder string
	// unlabelAt is when mesh.LabelChanged goes from the own Node; zero where nobody knows of any. Only publish uses it.
	unlabelAt time.Time

	// mu guards the node's key, and what the last reconcile found, for the socket, the publisher and the metrics.
	mu       sync.Mutex
	key      identity.PrivateKey
	result   mesh.Result
	wanted   publication
	refusals transitions
	// lacking are the permissions that the API server does not grant.
	lacking []string
}

// Run runs an agent until ctx ends. What it has put into the kernel stays there.
func Run(ctx context.Context, config Config, logger *zap.Logger) error {
	if err := checkCapabilities(config.Mode); err != nil {
		return err
	}
	if config.Mode == PolicyOnly {
		return runPolicyOnly(ctx, config, logger)
	}
	a, err := start(ctx, config, logger)
	if err != nil {
		return err
	}
	defer func() { _ = a.close() }()
	logger.Info("starting", zap.String("version", version.String()), zap.String("node", config.NodeName),
		zap.Stringer("publicKey", a.key.Public()), zap.String("wireguard", string(a.device.Implementation())))
	last := a.lastPlan()
	guarded, err := a.failClosed(last)
	if err != nil {
		return err
	}
	if err := a.restorePolicy(); err != nil {
		return err
	}
	if last != nil {
		a.restore(*last, guarded)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return socket.Serve(ctx, config.Socket, a) })
	group.Go(func() error { a.residents.loop.Run(ctx); return nil })
	group.Go(func() error { return a.serveHTTP(ctx) })
	group.Go(func() error { return a.mesh(ctx) })
	group.Go(func() error { return a.police(ctx) })
	err = group.Wait()
	a.keeper.flush()
	a.enforcement.keep.flush(a)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	logger.Info("stopped; what is in the kernel stays")
	return nil
}

// start opens what the agent needs. Nothing in the kernel is changed yet.
func start(ctx context.Context, config Config, logger *zap.Logger) (*Agent, error) {
	a := &Agent{config: config, logger: logger}
	a.metrics = newMetrics(a)
	key, created, err := identity.LoadOrCreate(config.StateDir)
	if err != nil {
		return nil, fmt.Errorf("loading the node's key: %w", err)
	}
	if created {
		logger.Info("made a new key", zap.String("folder", config.StateDir), zap.Stringer("publicKey", key.Public()))
	}
	a.key = key
	if a.clock, err = clock.Open(config.StateDir); err != nil {
		logger.Warn("whether the clock went back while the agent was away is not known", zap.Error(err))
	}
	a.keeper = newKeeper(checkpoint.New(config.StateDir), logger, a.metrics)
	if a.guard, err = guard.New(guard.Options{OnMessage: counted(&a.sent.guard, func(int) {})}); err != nil {
		return nil, errors.Join(fmt.Errorf("opening nftables: %w", err), a.close())
	}
	if err = a.openPolicy(ctx); err != nil {
		return nil, errors.Join(err, a.close())
	}
	if err = a.openPods(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	if a.router, err = route.New(route.Options{OnMessage: counted(&a.sent.rtnetlink, a.metrics.rtnetlinkSent)}); err != nil {
		return nil, errors.Join(fmt.Errorf("opening rtnetlink: %w", err), a.close())
	}
	if _, err = a.router.PodLinks(config.PodLinks, config.ClusterCIDRs); err != nil {
		return nil, errors.Join(fmt.Errorf("nothing was started, because of --pod-interfaces: %w", err), a.close())
	}
	if err = a.checkMigration(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	if a.device, err = wg.New(wg.Options{
		Mode: config.WireGuard, LogDir: filepath.Dir(config.Socket), Spawn: elsewhere(config.TunnelSocket), OnMessage: counted(&a.sent.wireguard, a.metrics.wireguardSent),
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("opening WireGuard: %w", err), a.close())
	}
	a.kube, err = kube.New(kube.Options{
		Kubeconfig: config.Kubeconfig, UserAgent: "warrend/" + version.String(), NodeName: config.NodeName,
		WatchServiceCIDRs: len(config.ServiceCIDRs) == 0, WatchPools: config.Pools,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the API client: %w", err), a.close())
	}
	a.openBlocks()
	return a, nil
}

func (a *Agent) close() error {
	var errs []error
	if a.guard != nil {
		errs = append(errs, a.guard.Close())
	}
	if a.router != nil {
		a.router.Close()
	}
	if a.device != nil {
		errs = append(errs, a.device.Close())
	}
	a.theirs.close()
	errs = append(errs, a.residents.close(), a.enforcement.close())
	return errors.Join(errs...)
}

// failClosed makes sure that nothing can leave in clear, and that who tries is told at once, before the API server has said
// anything: on a node that has just booted pods may start before the mesh does. A guard that is there already knows more,
// and is kept; guarded says that there was one. Where there was none, but a mesh that works, the last good plan's costs that
// no packet. A node that is to be migrated for the first time has a network that works, in clear: it gets the guard with its first plan, which
// knows whom that is to be left open for.
func (a *Agent) failClosed(last *mesh.Plan) (guarded bool, err error) {
	plan := mesh.Compute(mesh.Local{Interface: a.config.Interface, ClusterCIDRs: a.config.ClusterCIDRs, PodLinks: a.config.PodLinks}, nil).Plan
	if last != nil {
		plan.Guard = last.Guard
	}
	guarded, err = a.guard.Present()
	if err != nil {
		return false, err
	}
	if first := a.migrating() && last == nil && a.fresh(); !guarded && !first {
		if err := a.setGuard(plan.Guard); err != nil && !errors.Is(err, guard.ErrOthers) {
			return false, err
		}
	}
	if err := a.router.Add(plan.Routes); err != nil {
		return guarded, fmt.Errorf("making what has no peer unreachable: %w", err)
	}
	return guarded, nil
}

// mesh waits for the API server's view of all nodes, and then follows it.
func (a *Agent) mesh(ctx context.Context) error {
	a.reconcileLoop = loop.New(a.reconcile, loop.Options{
		Min: 5 * time.Millisecond, RetryMin: 200 * time.Millisecond, RetryMax: 5 * time.Second, Max: auditInterval,
		OnResult: a.reconciled,
	})
	a.publishLoop = loop.New(a.publish, loop.Options{
		Min: 100 * time.Millisecond, RetryMin: 200 * time.Millisecond, RetryMax: 30 * time.Second, OnResult: a.published,
	})
	a.pathLoop = loop.New(a.forgetPaths, loop.Options{Min: pathInterval})
	recorder, err := a.kube.NewRecorder(ctx)
	if err != nil {
		return err
	}
	a.events = recorder
	a.podEvents.Store(recorder)
	a.tellMigration()
	ctx, stop := context.WithCancel(ctx)
	a.nodes = a.kube.Watch(ctx, func() {
		a.reconcileLoop.Trigger()
		a.publishLoop.Trigger()
		if a.config.Pools {
			a.holdings.loop.Trigger()
		}
	})
	defer a.nodes.Wait()
	defer stop()
	var asking sync.WaitGroup
	asking.Go(func() { a.watchPermissions(ctx) })
	defer asking.Wait()
	defer stop()
	if err := a.nodes.WaitForSync(ctx); err != nil {
		return fmt.Errorf("waiting for all Nodes: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.repair(ctx) })
	group.Go(func() error { a.reconcileLoop.Run(ctx); return nil })
	if a.config.Pools {
		group.Go(func() error { a.holdings.loop.Run(ctx); return nil })
	}
	group.Go(func() error { a.watchDevice(ctx); return nil })
	group.Go(func() error { a.watchAnswers(ctx); return nil })
	group.Go(func() error { return a.followClock(ctx) })
	group.Go(func() error { a.publishLoop.Run(ctx); return nil })
	group.Go(func() error { a.pathLoop.Run(ctx); return nil })
	group.Go(func() error { a.keeper.run(ctx); return nil })
	return group.Wait()
}
