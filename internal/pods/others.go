package pods

import (
	"fmt"
	"slices"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// importOthers enters what another plugin has handed out meanwhile, so that nobody else gets it, and ends what it has taken back.
func (p *Pods) importOthers() error {
	if p.options.Others == nil {
		return nil
	}
	p.importing.Lock()
	defer p.importing.Unlock()
	leases, err := p.options.Others()
	if err != nil {
		return err
	}
	p.mu.Lock()
	leases = slices.DeleteFunc(leases, func(l ipam.Lease) bool { return p.void[l.Key] })
	p.mu.Unlock()
	there := make(map[ipam.Key]bool, len(leases))
	for _, l := range leases {
		there[l.Key] = true
	}
	for _, l := range p.options.Leases.Leases() {
		if l.HostLocal == "" || there[l.Key] {
			continue
		}
		if _, err := p.options.Leases.Release(l.Key, p.options.Now()); err != nil {
			return err
		}
	}
	return p.options.Leases.Import(leases)
}

// unplug does for a pod of another plugin's what that would do: runtimes delete by the configuration of now, which is ours. host-local's files
// go too, or they would say for ever that the addresses are in use.
func (p *Pods) unplug(lease ipam.Lease, netns string) error {
	if lease.HostLocal == "" {
		return nil
	}
	if err := cni.Unplug(netns, lease.Interface); err != nil {
		return fmt.Errorf("taking another plugin's pod off its network: %w", err)
	}
	if err := journal.RemoveHostLocal(lease); err != nil {
		// An agent that may only read them: the lease ends all the same.
		p.mu.Lock()
		defer p.mu.Unlock()
		p.void[lease.Key] = true
	}
	return nil
}
