// Package pods gives pods their addresses and wires, and takes both back: what the CNI plugin asks for, and what it never asked for.
package pods

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
	"github.com/warren-mesh/warren/policy"
)

// Network is what pods get here.
type Network struct {
	// CIDRs are the node's own.
	CIDRs []netip.Prefix
	// MTU is that of the pods' interfaces, in bytes.
	MTU int
}

// Guard keeps pods from sending under hardware addresses that they were not given.
type Guard interface {
	AddPod(link string, mac net.HardwareAddr) error
	RemovePod(link string) error
}

// Policy lets nothing to a pod or from it before the rules that apply are in the kernel.
type Policy interface {
	// Bind returns when they are.
	Bind(ctx context.Context, l policy.Local) error
	Unbind(link string)
}

// bindTimeout bounds the wait for that: of a pod that the API server cannot tell of now, it comes to nothing.
const bindTimeout = 10 * time.Second

// attachedAtOnce is how many wires are made at the same time. The kernel makes one after the other, and of many that wait for it on a busy node none is
// done before all are: those that came first are to be answered first.
const attachedAtOnce = 4

// Options are what Pods needs.
type Options struct {
	Leases *journal.Store
	Guard  Guard
	// Policy may be nil: nothing is enforced.
	Policy Policy
	// Network says what pods get now, or why they get nothing yet.
	Network func() (Network, error)
	// Source says where a pod's addresses come from; nil: from the network's CIDRs. ipam.ErrLater: that cannot be said now.
	Source func(context.Context, ipam.Pod) (ipam.Source, error)
	// Grow gets the node more of what an offer had nothing free in; nil: there is never more. ipam.ErrLater: it may be had later.
	Grow func(context.Context, ipam.Offer) error
	// Others gives the leases of another plugin, which may hand out addresses of the same CIDRs while it goes; nil: there is none.
	Others func() ([]ipam.Lease, error)
	// Beside makes what is leased known to pods that another plugin has on a bridge; nil: there are none.
	Beside func() error
	// OnFull is told when no address is free. It must not wait.
	OnFull func(*ipam.FullError)
	// OnStep, where it is set, is told before each step that changes something: tests break off there.
	OnStep func(step string)
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Pods are those of a node. Its methods may be called concurrently, in the host's network namespace.
type Pods struct {
	options Options
	wires   locks
	// attaching has a place for each wire that may be made now.
	attaching chan struct{}
	// sweeping says that what was retired is about to be removed.
	sweeping atomic.Bool

	importing sync.Mutex // held from when another plugin's leases are read until ours are the same

	mu sync.Mutex // guards all below
	// suspects are leases that one observation found to be without a pod, and when: the next takes them.
	suspects map[suspicion]time.Time
	// void are leases of another plugin that ended here, and of which its files could not be removed.
	void map[ipam.Key]bool
}

// New is the pods of a node, whose leases are open.
func New(options Options) *Pods {
	if options.OnStep == nil {
		options.OnStep = func(string) {}
	}
	if options.OnFull == nil {
		options.OnFull = func(*ipam.FullError) {}
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Pods{options: options, attaching: make(chan struct{}, attachedAtOnce), suspects: map[suspicion]time.Time{}, void: map[ipam.Key]bool{}}
}

// Call answers the plugin. An error with a code of the specification is a *types.Error.
func (p *Pods) Call(ctx context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	c, err := parse(command, r)
	if err != nil {
		return nil, err
	}
	if c.gate && (command == cni.Add || command == cni.Status) {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, `"gate" is true, and the agent gives pods their network itself`,
			"want warren-cni as a gate where warrend runs with --mode=mesh or --mode=policy only")
	}
	switch command {
	case cni.Add:
		return p.add(ctx, c)
	case cni.Del:
		return nil, p.del(c)
	case cni.Check:
		return nil, p.check(c)
	case cni.GC:
		return nil, p.collectUnlisted(c)
	case cni.Status:
		if _, err := p.options.Network(); err != nil {
			return nil, types.NewError(types.ErrPluginNotAvailable, "pods get no network yet", err.Error())
		}
		return nil, nil
	}
	return nil, fmt.Errorf("unknown command %q", command)
}

// add makes lease and wire. The lease is on the disk when it answers, and not before the wire is made: to wait for both takes as long as
// the slower.
func (p *Pods) add(ctx context.Context, c call) ([]byte, error) {
	sandbox, err := podnet.OpenSandbox(c.NetNS)
	if err != nil {
		return nil, types.NewError(types.ErrInvalidNetNS, "the pod's network namespace cannot be used", err.Error())
	}
	defer sandbox.Close()
	network, err := p.options.Network()
	if err != nil {
		return nil, types.NewError(types.ErrTryAgainLater, "pods get no network yet", err.Error())
	}
	if p.options.Policy != nil && c.Pod.Name == "" {
		return nil, types.NewError(types.ErrInvalidEnvironmentVariables, "policy is enforced here, and no policy can be of a container without a pod",
			"CNI_ARGS have no K8S_POD_NAMESPACE and K8S_POD_NAME")
	}
	defer p.wires.lock(c.wire())()
	if held, ok := p.options.Leases.Lease(c.Key); ok && !sameWire(held.Request, c.Request) {
		return nil, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("container %s is of pod %s/%s", c.ContainerID,
			held.Pod.Namespace, held.Pod.Name), "")
	}
	var before ipam.Lease
	for {
		lease, fresh, err := p.lease(ctx, c, network)
		if err != nil {
			return nil, err
		}
		wired, err := p.wire(ctx, sandbox, lease, network, c.mac)
		if err == nil {
			return result(c, lease, wired, network)
		}
		if !fresh {
			return nil, err
		}
		p.options.OnStep("release")
		if _, undo := p.options.Leases.Release(lease.Key, p.options.Now()); undo != nil {
			return nil, errors.Join(err, undo)
		}
		if errors.Is(err, podnet.ErrTaken) && len(c.addresses) > 0 {
			return nil, types.NewError(cni.ErrNoAddress, "an address that was asked for is another pod's", err.Error())
		}
		if !errors.Is(err, podnet.ErrTaken) || slices.Equal(lease.Addresses, before.Addresses) {
			return nil, err
		}
		before = lease
		// The kernel has the address for another pod, whose lease was lost: it is passed over, and the next one tried.
	}
}

// wire makes a lease's wire. Meanwhile the lease goes to the disk and the pod's rules to the kernel, which know its link by a name that is
// known beforehand: to wait for all takes as long as the slowest, and no pod sends before guard and policy know it. If any of it fails, nothing
// is left.
func (p *Pods) wire(ctx context.Context, sandbox *podnet.Sandbox, lease ipam.Lease, network Network, mac net.HardwareAddr) (podnet.Result, error) {
	s := p.spec(lease, network.MTU)
	s.MAC = mac
	wired := s.Result()
	others, group := errgroup.WithContext(ctx) // Who takes longest begins first.
	group, giveUp := context.WithCancel(group)
	defer giveUp()
	others.Go(p.options.Leases.Sync)
	others.Go(func() error { return p.bind(group, lease, wired.HostLink) })
	others.Go(func() error {
		p.options.OnStep("guard")
		return p.options.Guard.AddPod(wired.HostLink, wired.PodMAC)
	})
	if p.options.Beside != nil {
		others.Go(p.options.Beside)
	}
	err := p.attach(sandbox, s)
	attached := err == nil
	if !attached {
		giveUp()
	}
	if failed := others.Wait(); attached {
		err = failed
	}
	if err != nil {
		err = errors.Join(err, p.undo(s, attached))
	}
	p.options.OnStep("answer")
	return wired, err
}

// attach makes a wire when it is its turn.
func (p *Pods) attach(sandbox *podnet.Sandbox, s podnet.Spec) error {
	p.attaching <- struct{}{}
	defer func() { <-p.attaching }()
	_, err := sandbox.Attach(s)
	return err
}

// bind waits until a pod's rules are in the kernel.
func (p *Pods) bind(ctx context.Context, lease ipam.Lease, link string) error {
	if p.options.Policy == nil {
		return nil
	}
	p.options.OnStep("policy")
	namespace, name := wiredAs(lease.Request)
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	err := p.options.Policy.Bind(ctx, policy.Local{
		Interface: link, PodKey: policy.PodKey{Namespace: namespace, Name: name}, Addresses: lease.Addresses,
	})
	if err != nil {
		return types.NewError(types.ErrTryAgainLater, "it is not known yet which policies apply to the pod", err.Error())
	}
	return nil
}

func (p *Pods) spec(lease ipam.Lease, mtu int) podnet.Spec {
	namespace, name := wiredAs(lease.Request)
	return podnet.Spec{
		NetNS: lease.NetNS, Interface: lease.Interface, Namespace: namespace, Name: name, Addresses: lease.Addresses, MTU: mtu,
		OnStep: p.options.OnStep,
	}
}

// del takes wire and lease. What is not there is no error.
func (p *Pods) del(c call) error {
	_ = p.importOthers() // What cannot be read then is no reason to keep a pod from its end.
	lease, ok := p.options.Leases.Lease(c.Key)
	if !ok {
		lease = ipam.Lease{Request: c.Request}
	}
	if err := p.unplug(lease, c.NetNS); err != nil {
		return err
	}
	return p.remove(lease, func() (bool, error) { return true, nil })
}

// check is an error where a pod has not what it was given.
func (p *Pods) check(c call) error {
	lease, ok := p.options.Leases.Lease(c.Key)
	if !ok {
		return types.NewError(types.ErrUnknownContainer, fmt.Sprintf("container %s has no lease for %s", c.ContainerID, c.Interface), "")
	}
	if err := c.names(lease.Addresses); err != nil || lease.HostLocal != "" {
		return err
	}
	lease.NetNS = c.NetNS
	if err := podnet.Check(p.spec(lease, 0)); err != nil {
		if errors.Is(err, podnet.ErrNetNS) {
			return types.NewError(types.ErrInvalidNetNS, "the pod's network namespace cannot be used", err.Error())
		}
		return err
	}
	return nil
}

// Tune brings all pods' wires to an MTU, in bytes, and to what else new ones have.
func (p *Pods) Tune(mtu int) error {
	var errs []error
	for _, lease := range p.options.Leases.Leases() {
		if lease.HostLocal != "" {
			continue
		}
		s := p.spec(lease, mtu)
		unlock := p.wires.lock(podnet.HostLink(s.Namespace, s.Name, s.Interface))
		if err := podnet.Tune(s); err != nil && !errors.Is(err, podnet.ErrNetNS) { // a pod that is about to go
			errs = append(errs, err)
		}
		unlock()
	}
	return errors.Join(errs...)
}
