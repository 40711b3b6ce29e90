package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/ipam"
)

// Survey looks at leases, wires and namespaces. Pods come and go meanwhile: a wire counts where it is there before and after the leases
// were read, and a lease without one is not told of before its pod could have it.
func (p *Pods) Survey(cidrs []netip.Prefix) (survey.Node, error) {
	before, err := podnet.Wires()
	if err != nil {
		return survey.Node{}, err
	}
	s := survey.Node{CIDRs: cidrs}
	var errs []error
	for _, l := range p.options.Leases.Leases() {
		one := survey.Lease{Lease: l}
		if l.HostLocal == "" {
			namespace, name := wiredAs(l.Request)
			one.Link = podnet.HostLink(namespace, name, l.Interface)
		}
		if one.Gone, err = p.gone(l); err == nil && l.HostLocal == "" && p.options.Now().Sub(l.Since) > apart {
			var wired bool
			wired, err = p.wired(l)
			one.Unwired = !wired
		}
		errs = append(errs, err)
		s.Leases = append(s.Leases, one)
	}
	after, err := podnet.Wires()
	for _, w := range after {
		if slices.ContainsFunc(before, func(b podnet.Wire) bool { return b.Link == w.Link }) {
			s.Wires = append(s.Wires, survey.Wire{Link: w.Link, Of: w.Of, Addresses: w.Addresses})
		}
	}
	return s, errors.Join(append(errs, err)...)
}

// Refusals of Release.
var (
	ErrNotLeased = errors.New("it is not leased on this node")
	ErrLives     = errors.New("its pod lives")
)

// Release ends the lease that has an address, where nothing is left of its pod. With force it ends it all the same, and takes the pod's wire away.
func (p *Pods) Release(a netip.Addr, force bool) (whose string, err error) {
	lease, whose, ok := survey.Owner(p.options.Leases.Leases(), a)
	if !ok {
		return "", fmt.Errorf("releasing %s: %w", a, ErrNotLeased)
	}
	taken, err := p.take(lease, func() (bool, error) {
		if force {
			return true, nil
		}
		return p.gone(lease)
	})
	if err == nil && !taken {
		err = fmt.Errorf("%w: it is of %s, %s", ErrLives, whose, p.signs(lease))
	}
	if err != nil {
		return "", fmt.Errorf("releasing %s: %w", a, err)
	}
	return whose, nil
}

// signs say by what a lease's pod is known to live, and what ends that.
func (p *Pods) signs(l ipam.Lease) string {
	if l.HostLocal != "" {
		return "whose files are in " + l.HostLocal + ": it is released once these are gone"
	}
	namespace, name := wiredAs(l.Request)
	return fmt.Sprintf("which has its network namespace %s or its interface %s: delete the pod; --force takes the interface away from it",
		l.NetNS, podnet.HostLink(namespace, name, l.Interface))
}
