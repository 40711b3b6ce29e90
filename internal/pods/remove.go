package pods

import (
	"time"

	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/ipam"
)

// remove takes a lease's wire, unless that is another sandbox's of the same pod by now, and then the lease: its address is nobody else's
// before. Nobody else does anything to the wire from when confirm is asked whether to go on.
func (p *Pods) remove(lease ipam.Lease, confirm func() (bool, error)) error {
	namespace, name := wiredAs(lease.Request)
	defer p.wires.lock(podnet.HostLink(namespace, name, lease.Interface))()
	if ok, err := confirm(); err != nil || !ok {
		return err
	}
	if lease.HostLocal == "" && !p.succeeded(lease) {
		p.options.OnStep("detach")
		if err := p.forget(podnet.Spec{Namespace: namespace, Name: name, Interface: lease.Interface}, podnet.Retire); err != nil {
			return err
		}
		p.sweepSoon()
	}
	p.options.OnStep("release")
	_, err := p.options.Leases.Release(lease.Key, p.options.Now())
	return err
}

// succeeded says whether a later lease is of the same interface of the same pod.
func (p *Pods) succeeded(lease ipam.Lease) bool {
	return p.options.Leases.Any(func(other ipam.Lease) bool {
		return other.Key != lease.Key && other.HostLocal == "" && sameWire(other.Request, lease.Request) && !other.Since.Before(lease.Since)
	})
}

// forget takes a wire away, in one way or another, and meanwhile has the guard forget it. What the guard may still hold in the end is of a
// link that is gone, and is replaced with the pod.
func (p *Pods) forget(s podnet.Spec, away func(namespace, name, iface string) error) error {
	link := s.Result().HostLink
	forgotten := make(chan struct{})
	go func() {
		defer close(forgotten)
		_ = p.options.Guard.RemovePod(link)
	}()
	err := away(s.Namespace, s.Name, s.Interface)
	<-forgotten
	if err == nil && p.options.Policy != nil {
		p.options.Policy.Unbind(link)
	}
	return err
}

// undo takes back what an ADD made that failed. A wire that it did not make or change stays, with its rules.
func (p *Pods) undo(s podnet.Spec, attached bool) error {
	if !attached {
		if wired, err := podnet.Wired(s.Namespace, s.Name, s.Interface); err != nil || wired {
			return err
		}
	}
	return p.forget(s, podnet.Detach)
}

// sweepInterval is how long wires of pods that go wait for each other. The runtime deletes the pods' namespaces right after, which mostly
// does it before.
const sweepInterval = 100 * time.Millisecond

// sweepSoon has the wires that were retired removed. What fails Collect does again.
func (p *Pods) sweepSoon() {
	if p.sweeping.Swap(true) {
		return
	}
	time.AfterFunc(sweepInterval, func() {
		p.sweeping.Store(false) // Who retires one from here on asks anew.
		p.options.OnStep("sweep")
		_ = podnet.Sweep()
	})
}
