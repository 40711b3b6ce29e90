package pods

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/ipam"
)

// turns is how often a pod that finds no free address asks for more: others may be faster each time.
const turns = 5

// lease takes the lease of a pod, and more for the node to hand out where nothing is free. It says whether the lease is a new one.
func (p *Pods) lease(ctx context.Context, c call, network Network) (ipam.Lease, bool, error) {
	source, err := p.source(ctx, c, network)
	if err == nil {
		err = p.importOthers()
	}
	if err != nil {
		return ipam.Lease{}, false, coded(err)
	}
	source = ipam.Asked{Source: source, Addresses: c.addresses}
	for turn := 1; ; turn++ {
		p.options.OnStep("allocate")
		lease, fresh, err := p.options.Leases.Allocate(c.Request, source, p.options.Now())
		var full *ipam.FullError
		if !errors.As(err, &full) {
			return lease, fresh, coded(err)
		}
		if p.options.Grow != nil {
			full.NoBlock = p.options.Grow(ctx, full.Offer)
			switch {
			case errors.Is(full.NoBlock, ipam.ErrLater):
				return ipam.Lease{}, false, coded(full)
			case full.NoBlock == nil && turn < turns:
				continue
			}
		}
		p.options.OnFull(full)
		return ipam.Lease{}, false, coded(full)
	}
}

// source is where the addresses of a pod come from. Who has a lease already keeps it, whatever can be read now.
func (p *Pods) source(ctx context.Context, c call, network Network) (ipam.Source, error) {
	if _, held := p.options.Leases.Lease(c.Key); held || p.options.Source == nil {
		return ipam.NodeCIDRs(network.CIDRs), nil
	}
	return p.options.Source(ctx, c.Pod)
}

// coded is an error as the specification has it: by the first of these that it is.
func coded(err error) error {
	var full *ipam.FullError
	switch {
	case errors.Is(err, ipam.ErrLater):
		return types.NewError(types.ErrTryAgainLater, "pods get no address yet", err.Error())
	case errors.As(err, &full):
		return types.NewError(cni.ErrNoAddress, full.Error(), "")
	case errors.Is(err, ipam.ErrElsewhere):
		return types.NewError(types.ErrInvalidNetworkConfig, "runtimeConfig.ips", err.Error())
	case errors.Is(err, ipam.ErrDenied):
		return types.NewError(cni.ErrDenied, err.Error(), "")
	}
	return err
}
