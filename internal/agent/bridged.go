package agent

import (
	"net/netip"

	"github.com/warren-mesh/warren/internal/pods"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// bridged says what is to be done for pods that another plugin gave a network before Warren did, and may go on to until its configuration is
// gone. Where there are none it changes nothing.
func (a *Agent) bridged(options *pods.Options) {
	if len(a.config.PodLinks) == 0 {
		return
	}
	options.Others = func() ([]ipam.Lease, error) { return journal.HostLocal(journal.HostLocalDir) }
	options.Beside = a.beside
}

// beside has the node answer on others' bridges for our pods: to the pods there they are neighbours.
func (a *Agent) beside() error {
	network, err := a.podNetwork()
	if err != nil || len(a.config.PodLinks) == 0 {
		return nil //nolint:nilerr // It is said where a pod asks for its network.
	}
	var addrs []netip.Addr
	for _, l := range a.residents.leases.Leases() {
		if l.HostLocal == "" {
			addrs = append(addrs, l.Addresses...)
		}
	}
	return a.router.SetProxies(a.config.PodLinks, network.CIDRs, addrs)
}
