package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/nft"
)

// policyBatch is how long what comes right after a change waits, to be one transaction.
const policyBatch = 2 * time.Millisecond

// enforcement is policy on this node, as the agent keeps it; without a table where it is not to be enforced.
type enforcement struct {
	table *nft.Table
	loop  *loop.Runner
	disk  *checkpoint.PolicyStore
	bonds bonds
	// objects are what the API server says; nil until it is asked.
	objects atomic.Pointer[kube.Policies]
	// audit asks the next run to read the kernel rather than to trust what is remembered. Only the loop uses due, which is when that is to be
	// done unasked.
	audit atomic.Bool
	due   time.Time
	// set says that the kernel holds what the API server said once it had said everything; restored is what was on disk before, and held that the
	// kernel holds that. Only the loop uses them.
	set, held bool
	restored  policy.Ruleset
	// spoken says that a policy came, changed or went since troubles were told of. Only the loop uses it.
	spoken bool
	// troubles are the problems that were told of, and unreadable those of policies that cannot be read, by name. Only the loop uses them.
	troubles   map[policy.Problem]bool
	unreadable map[string]string
	problem    problem
	keep       policyKeeper
	revocation revocation
	tells

	mu    sync.Mutex // guards index: it is asked for its size, too
	index *policy.Index
}

// openPolicy opens the table. Nothing in the kernel is changed yet.
func (a *Agent) openPolicy(ctx context.Context) (err error) {
	e := &a.enforcement
	if !a.config.Policy {
		return nil
	}
	e.index, e.troubles, e.unreadable = policy.NewIndex(), map[policy.Problem]bool{}, map[string]string{}
	e.disk = checkpoint.NewPolicy(a.config.StateDir, a.config.NodeName)
	e.loop = loop.New(a.enforce, loop.Options{
		Min: policyBatch, RetryMin: 50 * time.Millisecond, RetryMax: 5 * time.Second, Max: auditInterval, OnResult: a.enforced,
	})
	e.bonds.trigger = e.loop.Trigger
	e.keep.open(a)
	a.openTells(ctx)
	if e.table, err = nft.New(nft.Options{OnTransaction: a.metrics.transacted, LogGroup: e.logGroup, Theirs: a.config.Mode == PolicyOnly}); err != nil {
		return err
	}
	return e.revocation.open(a)
}

func (e *enforcement) close() error {
	e.revocation.close()
	if e.table == nil {
		return nil
	}
	return e.table.Close()
}

// restorePolicy has the kernel hold what pods need before the API server has said anything. A table that is there may be newer than what is on
// disk, and stays as it is. Where there was never one, the pods that are there go on as they did, until all policies are known.
func (a *Agent) restorePolicy() error {
	e := &a.enforcement
	if !a.config.Policy {
		removed, err := nft.Remove()
		for _, what := range removed {
			a.logger.Info("policy is not enforced; removed the " + what)
		}
		return err
	}
	present, err := e.table.Present()
	if err != nil {
		return err
	}
	rules, err := e.disk.Load()
	never := errors.Is(err, fs.ErrNotExist)
	if err != nil && !never {
		a.logger.Warn("the pods' rules on disk are not used; pods wait for the API server", zap.Error(err))
	}
	e.restored = rules
	wired, err := a.wiredPods()
	if err != nil {
		return err
	}
	if present || never && wired > 0 {
		return nil
	}
	if _, err := e.table.Set(rules); err != nil {
		return err
	}
	e.held = true
	e.bonds.hold(rules.Pods)
	a.logger.Info("the pods' rules on disk are in the kernel, until the API server answers", zap.Int("pods", len(rules.Pods)))
	return nil
}

// police follows what policy is made of, until ctx ends.
func (a *Agent) police(ctx context.Context) error {
	e := &a.enforcement
	if e.table == nil {
		return nil
	}
	changed, err := e.table.Watch(ctx)
	if err != nil {
		return err
	}
	follow, stop := context.WithCancel(ctx)
	objects := a.kube.WatchPolicies(follow, e.loop.Trigger)
	defer objects.Wait()
	defer stop()
	e.objects.Store(objects)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		a.followTables(ctx, changed, e.table.Watch, func() {
			e.audit.Store(true)
			e.loop.Trigger()
		})
	})
	running.Go(func() { e.keep.loop.Run(ctx) })
	running.Go(func() { e.revocation.loop.Run(ctx) })
	running.Go(func() { a.tell(ctx) })
	e.loop.Run(ctx)
	return ctx.Err()
}

// enforce brings the kernel to what follows from all that has changed.
func (a *Agent) enforce(ctx context.Context) error {
	e := &a.enforcement
	objects := e.objects.Load()
	synced := objects.Synced() // asked first: what is synced by now is among the changes
	e.mu.Lock()
	defer e.mu.Unlock()
	changes := objects.Changes()
	a.noticeTheirs(ctx, objects, synced)
	for i := range changes {
		e.spoken = e.change(&changes[i]) || e.spoken
	}
	if !synced && !e.set {
		return a.enforceRestored()
	}
	e.bonds.change(e.index)
	if err := a.commit(); err != nil {
		e.set = false
		return err
	}
	for i := range changes {
		a.metrics.policed(&changes[i])
	}
	if e.spoken {
		a.tellTroubles(objects)
		e.spoken = false
	}
	return nil
}

// commit has the kernel hold what the index says: the difference to the last time, or where that is not known, or in doubt, the whole.
func (a *Agent) commit() error {
	e := &a.enforcement
	doubt := e.audit.Swap(false) || time.Now().After(e.due)
	delta := e.index.Take()
	if e.set && !delta.Empty() {
		if err := e.table.Apply(delta); err != nil {
			return err
		}
		e.revocation.after(delta, e.bonds.addresses(delta.PodsRemoved))
		e.bonds.apply(delta)
		e.keep.changed()
	}
	if e.set && !doubt {
		e.bonds.release()
		return nil
	}
	rules := e.index.Ruleset()
	drift, err := e.table.Set(rules)
	if err != nil {
		return err
	}
	if e.set && drift != (nft.Drift{}) {
		a.tellDrift([]string{"policy"})
	}
	if !e.set || drift != (nft.Drift{}) {
		e.revocation.all(rules)
	}
	if a.config.Mode == PolicyOnly {
		a.programmed.Store(true) // which otherwise is the mesh's
	}
	e.set, e.due, e.held, e.restored = true, time.Now().Add(policyDue(elements(rules))), false, policy.Ruleset{}
	e.bonds.hold(rules.Pods)
	e.bonds.release()
	e.keep.changed()
	return nil
}

// elements counts what is in the sets.
func elements(r policy.Ruleset) (count int) {
	for _, s := range r.Sets {
		count += len(s.Members) + len(s.Ranges)
	}
	return count
}

// enforceRestored gives pods that were known before this agent started the rules that they had, whatever their addresses are now.
func (a *Agent) enforceRestored() error {
	e := &a.enforcement
	if !e.bonds.asked.Load() {
		return nil
	}
	if err := a.adoptPolicy(); err != nil || !e.held {
		return err
	}
	delta := e.bonds.again(e.restored)
	if err := e.table.Apply(delta); err != nil {
		e.held = false
		return err
	}
	e.bonds.apply(delta)
	e.bonds.release()
	for _, pod := range delta.PodsSet {
		e.restored.Pods[pod.Interface] = pod
		e.keep.changed()
	}
	return nil
}

// adoptPolicy takes what is on disk for what a table that was there holds, if that is so. If not, the table is newer, and pods wait.
func (a *Agent) adoptPolicy() (err error) {
	e := &a.enforcement
	if e.held {
		return nil
	}
	if e.held, err = e.table.Adopt(e.restored); err != nil || !e.held {
		return err
	}
	e.bonds.hold(e.restored.Pods)
	return nil
}

// change takes over one object, and says whether it is a policy.
func (e *enforcement) change(c *kube.PolicyChange) bool {
	x := e.index
	switch c.Kind {
	case kube.PodKind:
		if c.Pod == nil {
			x.DeletePod(policy.PodKey{Namespace: c.Namespace, Name: c.Name})
		} else {
			x.SetPod(*c.Pod)
		}
		return false
	case kube.NamespaceKind:
		if c.NamespaceIs == nil {
			x.DeleteNamespace(c.Name)
		} else {
			x.SetNamespace(*c.NamespaceIs)
		}
		return false
	case kube.NodeKind:
		if c.Node == nil {
			x.DeleteNode(c.Name)
		} else {
			x.SetNode(*c.Node)
		}
		return false
	case kube.NetworkPolicyKind:
		if c.Policy == nil {
			x.DeletePolicy(c.Namespace, c.Name)
		} else {
			x.SetPolicy(c.Policy)
		}
	case kube.ClusterPolicyKind:
		delete(e.unreadable, c.Name)
		switch {
		case c.ClusterPolicy != nil:
			x.SetClusterPolicy(c.ClusterPolicy)
		case c.Unreadable != "":
			e.unreadable[c.Name] = c.Unreadable
		default:
			x.DeleteClusterPolicy(c.Name)
		}
	}
	return true
}

// enforced tells of failures once when they begin or change, and of their end.
func (a *Agent) enforced(_ time.Duration, err error) {
	if err != nil {
		err = fmt.Errorf("enforcing policy: %w", err)
	}
	switch began, ended := a.enforcement.problem.update(err); {
	case began:
		a.logger.Error("policy could not be programmed; retrying", zap.Error(err))
	case ended:
		a.logger.Info("policy is programmed again")
	}
}
