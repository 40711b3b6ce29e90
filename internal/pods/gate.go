package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/mesh"
)

// Gate lets a pod that another plugin has given its network start when the mesh carries what it sends, and nothing of that can leave in
// clear.
type Gate struct {
	// Stands is an error where the guard or the mesh is not in the kernel.
	Stands func() error
	// Own are the node's pod CIDRs, and Mesh its mesh addresses.
	Own  []netip.Prefix
	Mesh []netip.Addr
	// PodLinks are those that the guard lets pods' packets through, as mesh.Guard has them, and LinkTo names the one that leads to a pod.
	PodLinks []string
	LinkTo   func(netip.Addr) (string, error)
}

// Call answers the plugin. To ADD it gives back the other plugin's result as it is.
func (g Gate) Call(command cni.Command, r cni.Request) ([]byte, error) {
	return gated("mesh", command, r, g.Stands, func(_ call, given *types100.Result) error {
		if err := g.passes(given); err != nil {
			return types.NewError(types.ErrTryAgainLater, "the pod's network is none that Warren can carry", err.Error())
		}
		return nil
	})
}

// gated answers the plugin behind the one that gives pods their network, in a mode of warrend: to ADD with that one's result as it is, once admit lets the
// pod start by it. What a pod was given ends with its link, and so there is nothing to check or to take back.
func gated(mode string, command cni.Command, r cni.Request, stands func() error, admit func(call, *types100.Result) error) ([]byte, error) {
	c, err := parse(command, r)
	if err != nil {
		return nil, err
	}
	if !c.gate {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("warrend runs with --mode=%s and gives pods no network", mode),
			`want "gate": true, behind the plugin that does`)
	}
	switch command {
	case cni.Add:
		given, err := c.given()
		if err != nil {
			return nil, err
		}
		if err := stands(); err != nil {
			return nil, types.NewError(types.ErrTryAgainLater, "the pod may not start yet", err.Error())
		}
		if err := admit(c, given); err != nil {
			return nil, err
		}
		return c.print(c.conf.PrevResult)
	case cni.Status:
		if err := stands(); err != nil {
			return nil, types.NewError(types.ErrPluginNotAvailable, "no pod may start yet", err.Error())
		}
		return nil, nil
	case cni.Check, cni.Del, cni.GC:
		return nil, nil
	}
	return nil, fmt.Errorf("unknown command %q", command)
}

// given is the result of the plugin before a gate.
func (c call) given() (*types100.Result, error) {
	if c.conf.PrevResult == nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "a gate needs the result of the plugin before it, and there is no prevResult",
			"want warren-cni behind the plugin that gives pods their network")
	}
	given, err := types100.NewResultFromResult(c.conf.PrevResult)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "converting the previous result", err.Error())
	}
	return given, nil
}

// passes is an error where an address is not the node's to give, or its packets would not pass the guard.
func (g Gate) passes(r *types100.Result) error {
	if len(r.IPs) == 0 {
		return errors.New("the plugin before it gave no address")
	}
	for _, ip := range r.IPs {
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		addr = addr.Unmap()
		switch {
		case !ok:
			return fmt.Errorf("%q is no address", ip.Address.IP.String())
		case !slices.ContainsFunc(g.Own, func(p netip.Prefix) bool { return p.Contains(addr) }):
			return fmt.Errorf("address %s is in none of the node's pod CIDRs %s: peers would refuse it", addr, g.Own)
		case slices.Contains(g.Mesh, addr):
			return fmt.Errorf("address %s is the node's mesh address", addr)
		}
		link, err := g.LinkTo(addr)
		if err != nil {
			return err
		}
		if !mesh.NamesLink(g.PodLinks, link) {
			return fmt.Errorf("address %s is reached by link %s, which is not among --pod-interfaces %q", addr, link, g.PodLinks)
		}
	}
	return nil
}
