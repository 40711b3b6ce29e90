package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// finding is by what a lease was found to be without a pod.
type finding int

const (
	// unlisted: the runtime does not list its container.
	unlisted finding = iota + 1
	// gone: its wire and its network namespace are gone.
	gone
	// absent: its wire is gone, and the API server has no such Pod on this node.
	absent
)

// suspicion is that of one observation; the same made again takes the lease.
type suspicion struct {
	ipam.Key
	finding finding
}

// apart is how far from each other two observations are at least: longer than a runtime takes to make a pod.
const apart = 10 * time.Second

// collectUnlisted is the runtime's GC: leases of its network whose container it does not list are taken, at once where wire and namespace
// are gone as well, else when it says so for the second time: a list may be older than the pod.
func (p *Pods) collectUnlisted(c call) error {
	valid := map[types.GCAttachment]bool{}
	for _, a := range c.conf.ValidAttachments {
		valid[a] = true
	}
	var errs []error
	for _, lease := range p.options.Leases.Leases() {
		if lease.Network != c.Network || lease.HostLocal != "" {
			continue
		}
		if valid[types.GCAttachment{ContainerID: lease.ContainerID, IfName: lease.Interface}] {
			p.clear(lease.Key, unlisted)
			continue
		}
		again := p.suspect(lease.Key, unlisted)
		_, err := p.take(lease, func() (bool, error) {
			if again {
				return true, nil
			}
			return p.gone(lease)
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Collect takes leases whose pods are gone, when that is seen for the second time, and says which; and the wires of pods that an agent before
// was asked to delete. It is called from time to time.
func (p *Pods) Collect() (taken []ipam.Lease, err error) {
	errs := []error{podnet.Sweep()}
	for _, lease := range p.options.Leases.Leases() {
		ok, err := p.take(lease, func() (bool, error) {
			isGone, err := p.gone(lease)
			if err != nil {
				return false, err
			}
			if !isGone {
				p.clear(lease.Key, gone)
				return false, nil
			}
			return p.suspect(lease.Key, gone), nil
		})
		if ok {
			taken = append(taken, lease)
		}
		errs = append(errs, err)
	}
	return taken, errors.Join(errs...)
}

// CollectAbsent takes leases of pods whose wire is gone and which the API server does not have, when that is seen for the second time, and says
// which, and whether any was seen for the first time. asked is when the API server was: what is newer is not judged by its answer. A pod that
// has its wire keeps its lease, whatever the API server says: of one that was deleted by force the containers may live on.
func (p *Pods) CollectAbsent(present func(ipam.Pod) bool, asked time.Time) (taken []ipam.Lease, again bool, err error) {
	var errs []error
	for _, lease := range p.options.Leases.Leases() {
		if lease.Pod.Name == "" || lease.HostLocal != "" || !lease.Since.Before(asked) {
			continue
		}
		if present(lease.Pod) {
			p.clear(lease.Key, absent)
			continue
		}
		ok, err := p.take(lease, func() (bool, error) {
			wired, err := p.wired(lease)
			if err != nil || wired {
				p.clear(lease.Key, absent)
				return false, err
			}
			sure := p.suspect(lease.Key, absent)
			again = again || !sure
			return sure, nil
		})
		if ok {
			taken = append(taken, lease)
		}
		errs = append(errs, err)
	}
	return taken, again, errors.Join(errs...)
}

// take removes a lease where it is to be, and says whether it did. One that is another's by the time is left.
func (p *Pods) take(lease ipam.Lease, whether func() (bool, error)) (taken bool, err error) {
	err = p.remove(lease, func() (bool, error) {
		now, ok := p.options.Leases.Lease(lease.Key)
		if !ok || !now.Since.Equal(lease.Since) {
			return false, nil
		}
		taken, err = whether()
		return taken, err
	})
	if err != nil || !taken {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range []finding{unlisted, gone, absent} {
		delete(p.suspects, suspicion{lease.Key, f})
	}
	return true, nil
}

// suspect notes what was found, and says whether the same was found before.
func (p *Pods) suspect(k ipam.Key, f finding) (again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.options.Now()
	if before, ok := p.suspects[suspicion{k, f}]; ok {
		return now.Sub(before) >= apart
	}
	p.suspects[suspicion{k, f}] = now
	return false
}

// clear forgets what was found.
func (p *Pods) clear(k ipam.Key, f finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.suspects, suspicion{k, f})
}

// gone says whether nothing is left of a lease's pod: neither the wire nor the network namespace. One of them alone says little: an agent
// may not see the namespace's path, and somebody may have removed the wire of a pod that lives. Its wire's lock is held.
func (p *Pods) gone(lease ipam.Lease) (bool, error) {
	if lease.HostLocal != "" {
		return !journal.HeldHostLocal(lease), nil
	}
	if cni.IsNetNS(lease.NetNS) {
		return false, nil
	}
	wired, err := p.wired(lease)
	return !wired, err
}

// wired says whether a lease's pod has its wire. Its lock is held.
func (p *Pods) wired(lease ipam.Lease) (bool, error) {
	if p.succeeded(lease) {
		return false, nil // The wire is a later sandbox's.
	}
	namespace, name := wiredAs(lease.Request)
	return podnet.Wired(namespace, name, lease.Interface)
}

// CollectTombstones does what the plugin was asked for while the agent was away.
func (p *Pods) CollectTombstones(ctx context.Context, dir string) error {
	tombstones, err := cni.Tombstones(dir)
	errs := []error{err}
	for _, t := range tombstones {
		if len(t.Config) == 0 {
			t.Config = json.RawMessage(`{}`)
		}
		p.options.OnStep("bury")
		_, err := p.Call(ctx, cni.Del, t.Request)
		var unsound *types.Error
		if err != nil && !errors.As(err, &unsound) {
			errs = append(errs, err)
			continue
		}
		p.options.OnStep("remove the tombstone")
		if err := os.Remove(t.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing a deletion that was done: %w", err))
		}
	}
	return errors.Join(errs...)
}

// CollectInterval is how often leases and deletions are looked at.
const CollectInterval = 15 * time.Second
