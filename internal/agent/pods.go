package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/cni/install"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/internal/pods"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// reasonPoolFull is that of the Event which says that a pod found no address.
const reasonPoolFull = "PoolFull"

// listInterval is how often the API server is asked for the node's Pods, and listAgain how soon where something depends on it.
const (
	listInterval = 5 * time.Minute
	listAgain    = pods.CollectInterval
)

// errNotMeshed is why a pod gets no network before the mesh could carry its packets.
var errNotMeshed = errors.New("the mesh is not programmed yet")

// residents are the node's pods, as the agent keeps them.
type residents struct {
	leases *journal.Store
	pods   *pods.Pods
	// broken is why there are none: leases that cannot be read.
	broken error
	// tuned is the MTU that the pods have, in bytes. Only the loop uses it.
	tuned int
	// mtu is the lane's last one, in bytes.
	mtu atomic.Int64
	// listed is when the API server was last asked for the node's Pods, and relist asks for it again before its time. Only the loop uses listed.
	listed time.Time
	relist atomic.Bool
	// provided says that there have been addresses to give.
	provided atomic.Bool
	// serving says that the runtime has been told of the plugin. Only the loop uses it.
	serving bool

	loop    *loop.Runner
	problem problem
}

// openPods has the guard know the pods that there are, and reads the leases. Where those cannot be read pods get no network, and the mesh
// goes on.
func (a *Agent) openPods() error {
	r := &a.residents
	r.loop = loop.New(a.tendPods, loop.Options{
		Min: 5 * time.Millisecond, RetryMin: time.Second, RetryMax: pods.CollectInterval, Max: pods.CollectInterval, OnResult: a.tended,
	})
	if a.config.Mode != Full {
		r.broken = errOthersPods
		return nil
	}
	given, err := podnet.Given()
	if err == nil {
		err = a.guard.SetPods(given)
	}
	if err != nil {
		return err
	}
	first := func() ([]ipam.Lease, error) { return journal.HostLocal(journal.HostLocalDir) }
	leases, err := journal.Open(filepath.Join(a.config.StateDir, journal.Folder), first, journal.Options{})
	if err != nil {
		r.broken = err
		a.logger.Error("pods get no network; the mesh goes on", zap.Error(err))
		return nil
	}
	a.logger.Info("the leases are open", zap.String("file", leases.Path()), zap.Int("leases", len(leases.Leases())))
	r.leases = leases
	options := pods.Options{Leases: leases, Guard: a.guard, Network: a.podNetwork, OnFull: a.poolFull}
	if a.config.Policy {
		options.Policy = &a.enforcement.bonds
	}
	if a.config.Pools {
		options.Source, options.Grow = a.podSource, a.grow
	}
	a.bridged(&options)
	r.pods = pods.New(options)
	return nil
}

func (r *residents) close() error {
	if r.leases == nil {
		return nil
	}
	return r.leases.Close()
}

// podNetwork says what a pod gets on this node.
func (a *Agent) podNetwork() (pods.Network, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	plan := a.result.Plan
	if !a.carries.Load() || len(plan.Lanes) == 0 || len(plan.Guard.Own) == 0 {
		return pods.Network{}, errNotMeshed
	}
	return pods.Network{CIDRs: plan.Guard.Own, MTU: plan.Lanes[0].MTU}, nil
}

// provided says whether there are addresses to give to pods: with pools, not before the mesh carries a block of the node's.
func (a *Agent) provided() bool {
	if !a.config.Pools {
		return true
	}
	own := a.Plan().Guard.Own
	return slices.ContainsFunc(a.holdings.keeper.Held().Blocks, func(b ipam.Block) bool { return slices.Contains(own, b.CIDR) })
}

// carry is told that the mesh can carry what pods send.
func (a *Agent) carry() {
	first := !a.carries.Swap(true)
	if a.config.Pools {
		a.holdings.keeper.Carry(a.Plan().Guard.Own)
	}
	provided := !a.residents.provided.Load() && a.provided()
	if provided {
		a.residents.provided.Store(true)
	}
	if network, err := a.podNetwork(); first || provided || err == nil && network.MTU != int(a.residents.mtu.Swap(int64(network.MTU))) {
		a.residents.loop.Trigger()
	}
}

// Pods implements socket.Backend.
func (a *Agent) Pods(ctx context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	start := time.Now()
	a.rush.begin()
	defer a.rush.end()
	result, err := a.backend()(ctx, command, r)
	a.metrics.called(string(command), time.Since(start), err)
	log := a.logger.Debug
	if err != nil && command != cni.Status {
		log = a.logger.Warn
	}
	log("asked by the CNI plugin", zap.String("command", string(command)), zap.String("container", r.ContainerID),
		zap.String("interface", r.Interface), zap.Duration("took", time.Since(start)), zap.Error(err))
	return result, err
}

// backend is what answers the plugin.
func (a *Agent) backend() func(context.Context, cni.Command, cni.Request) ([]byte, error) {
	switch {
	case a.config.Mode == MeshOnly:
		return a.gate
	case a.config.Mode == PolicyOnly:
		return a.policyGate
	case a.residents.broken == nil:
		return a.residents.pods.Call
	}
	return func(_ context.Context, command cni.Command, _ cni.Request) ([]byte, error) {
		code := types.ErrTryAgainLater
		if command == cni.Status {
			code = types.ErrPluginNotAvailable
		}
		return nil, types.NewError(code, "pods get no network", a.residents.broken.Error())
	}
}

// poolUses are how the node's pod CIDRs or blocks are used; none while that is not known.
func (a *Agent) poolUses() []ipam.Use {
	network, err := a.podNetwork()
	if err != nil || a.residents.leases == nil {
		return nil
	}
	source := ipam.Source(ipam.NodeCIDRs(network.CIDRs))
	if a.config.Pools {
		source = a.holdings.keeper.Held().Everything()
	}
	uses, err := a.residents.leases.Uses(source, time.Now())
	if err != nil {
		return nil
	}
	return uses
}

// poolFull tells of a pod that found no address, and looks at once for one that is nobody's any more.
func (a *Agent) poolFull(full *ipam.FullError) {
	a.residents.relist.Store(true)
	a.residents.loop.Trigger()
	if events := a.podEvents.Load(); events != nil {
		events.Event(kube.Warning, reasonPoolFull, full.Error(), nil)
	}
}

// tendPods takes what nobody asked for any more, follows the lane's MTU and, when pods can have a network, tells the runtime.
func (a *Agent) tendPods(ctx context.Context) error {
	r := &a.residents
	switch {
	case a.config.Mode != Full:
		return a.installGate()
	case r.broken != nil:
		return r.broken
	}
	errs := []error{r.pods.CollectTombstones(ctx, cni.TombstoneDir(a.config.Socket))}
	taken, err := r.pods.Collect()
	errs = append(errs, err)
	absent, err := a.collectAbsent(ctx)
	errs = append(errs, err)
	for _, lease := range append(taken, absent...) {
		a.logger.Info("took back the addresses of a pod that is gone", zap.Stringers("addresses", lease.Addresses),
			zap.String("namespace", lease.Pod.Namespace), zap.String("pod", lease.Pod.Name), zap.String("container", lease.ContainerID))
	}
	network, err := a.podNetwork()
	if err != nil {
		return errors.Join(errs...) // The reconcile that programs the mesh triggers again.
	}
	if network.MTU != r.tuned {
		if err := r.pods.Tune(network.MTU); err != nil {
			errs = append(errs, err)
		} else {
			r.tuned = network.MTU
		}
	}
	errs = append(errs, a.beside())
	if !a.residents.provided.Load() {
		a.logger.Debug("the runtime is not told of the plugin yet: no IPPool has given this node a block")
		return errors.Join(errs...) // The reconcile that carries one triggers again.
	}
	return errors.Join(append(errs, a.install())...)
}

// collectAbsent asks the API server from time to time for what it has of the node's Pods, and has taken what it has not. Where it does not answer
// nothing is.
func (a *Agent) collectAbsent(ctx context.Context) ([]ipam.Lease, error) {
	r := &a.residents
	since := time.Since(r.listed)
	if a.podEvents.Load() == nil || since < listAgain || since < listInterval && !r.relist.Load() {
		return nil, nil
	}
	r.listed = time.Now()
	r.relist.Store(false)
	here, err := a.kube.PodsHere(ctx)
	if err != nil {
		a.logger.Debug("which Pods the node has is not known; nothing is collected by it", zap.Error(err))
		return nil, nil
	}
	taken, again, err := r.pods.CollectAbsent(func(p ipam.Pod) bool { return here.Has(p.Namespace, p.Name, p.UID) }, r.listed)
	if again {
		r.relist.Store(true)
	}
	return taken, err
}

// install tells the runtime of the plugin: the program first, the configuration last.
func (a *Agent) install() error {
	if a.residents.serving {
		return nil
	}
	if err := a.installPlugin(); err != nil {
		return err
	}
	if dir := a.config.CNIConfDir; dir != "" {
		if err := a.installConflist(dir); err != nil {
			return err
		}
	}
	a.residents.serving = true
	return nil
}

// installConflist writes the configuration so that it ends with the machine, unless there are others in the folder: a runtime that finds ours leading
// nowhere may take one of those (CRI-O does), and start pods on another network.
func (a *Agent) installConflist(dir string) error {
	others, err := install.Others(dir)
	if err != nil {
		return err
	}
	link := a.config.CNIConfLink && len(others) == 0
	written, err := install.Conflist(dir, a.config.CNIBinDir, a.config.Socket, link)
	if err != nil {
		return err
	}
	if written {
		a.logger.Info("wrote the CNI configuration", zap.String("file", filepath.Join(dir, install.ConflistName)), zap.Bool("link", link))
	}
	if a.config.CNIConfLink && !link {
		a.logger.Warn("there are other CNI configurations beside ours: after a reboot this node will be Ready before Warren serves it", zap.Strings("files", others))
	}
	return nil
}

func (a *Agent) installPlugin() error {
	dir := a.config.CNIBinDir
	if dir == "" {
		return nil
	}
	written, err := install.Plugin(dir)
	if err != nil {
		return err
	}
	if written {
		a.logger.Info("installed the CNI plugin", zap.String("folder", dir))
	}
	return nil
}

// tended tells of failures once when they begin or change, and of their end.
func (a *Agent) tended(_ time.Duration, err error) {
	if err != nil {
		err = fmt.Errorf("tending the pods: %w", err)
	}
	switch began, ended := a.residents.problem.update(err); {
	case began:
		a.logger.Error("what is to be done for pods failed; retrying", zap.Error(err))
	case ended:
		a.logger.Info("what is to be done for pods is done again")
	}
}
