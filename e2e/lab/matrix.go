package lab

import (
	"context"
	"errors"
	"net/netip"
	"sync"
)

// Check is one look from a host at an address.
type Check func(ctx context.Context, from *Host, to netip.Addr) error

// ByPing, ByTCP and ByUDP are the usual checks.
var (
	ByPing Check = func(ctx context.Context, from *Host, to netip.Addr) error { return from.Ping(ctx, to, PingOptions{}) }
	ByTCP  Check = func(ctx context.Context, from *Host, to netip.Addr) error { return from.Reach(ctx, to, "tcp", 4000) }
	ByUDP  Check = func(ctx context.Context, from *Host, to netip.Addr) error { return from.Reach(ctx, to, "udp", 1000) }
)

// parallel is how many checks run at the same time.
const parallel = 16

// Matrix checks every address from every host, its own left out, and those of a family that the host does not have.
// It returns how many it checked, and all errors.
func Matrix(ctx context.Context, from []*Host, to []netip.Addr, checks ...Check) (int, error) {
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex // guards errs
		errs  []error
		slots = make(chan struct{}, parallel)
		count int
	)
	for _, h := range from {
		for _, addr := range to {
			if !h.Address(addr.Is4()).IsValid() || h.Address(addr.Is4()) == addr {
				continue
			}
			for _, check := range checks {
				count++
				slots <- struct{}{}
				wait.Go(func() {
					defer func() { <-slots }()
					if err := check(ctx, h, addr); err != nil {
						mu.Lock()
						errs = append(errs, err)
						mu.Unlock()
					}
				})
			}
		}
	}
	wait.Wait()
	return count, errors.Join(errs...)
}

// PodHosts are the pods as hosts.
func PodHosts(pods []*Pod) []*Host {
	hosts := make([]*Host, len(pods))
	for i, p := range pods {
		hosts[i] = &p.Host
	}
	return hosts
}

// NodeHosts are the nodes as hosts.
func NodeHosts(nodes []*Node) []*Host {
	hosts := make([]*Host, len(nodes))
	for i, n := range nodes {
		hosts[i] = &n.Host
	}
	return hosts
}

// Addresses are all addresses of these hosts.
func Addresses(hosts []*Host) []netip.Addr {
	var addrs []netip.Addr
	for _, h := range hosts {
		addrs = append(addrs, h.Addresses...)
	}
	return addrs
}
