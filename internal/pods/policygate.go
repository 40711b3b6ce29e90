package pods

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/policy"
)

// PolicyGate lets a pod that another plugin has given its network start when policy's rules for it are in the kernel.
type PolicyGate struct {
	// Stands is an error where no pod can be policed.
	Stands func() error
	// Lead finds the link that leads to a pod's addresses, as [podnet.Leads.To] does.
	Lead func(addrs []netip.Addr, named []string) (podnet.Lead, error)
	// Bind returns when the kernel has the rules of the pod to whom the link leads. It is the pod's from then on, whatever Bind says, for as long as
	// it is there.
	Bind func(ctx context.Context, lead podnet.Lead, l policy.Local) error
}

// Call answers the plugin. To ADD it gives back the other plugin's result as it is. What a pod was given ends with its link, and so there is
// nothing to do for DEL and GC.
func (g PolicyGate) Call(ctx context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	c, err := parse(command, r)
	if err != nil {
		return nil, err
	}
	if !c.gate {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "warrend runs with --mode=policy and gives pods no network",
			`want "gate": true, behind the plugin that does`)
	}
	switch command {
	case cni.Add:
		return g.add(ctx, c)
	case cni.Status:
		if err := g.Stands(); err != nil {
			return nil, types.NewError(types.ErrPluginNotAvailable, "no pod may start yet", err.Error())
		}
		return nil, nil
	case cni.Check, cni.Del, cni.GC:
		return nil, nil
	}
	return nil, fmt.Errorf("unknown command %q", command)
}

func (g PolicyGate) add(ctx context.Context, c call) ([]byte, error) {
	if c.conf.PrevResult == nil {
		return nil, errNoPrevious
	}
	whole, err := types100.NewResultFromResult(c.conf.PrevResult)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "converting the previous result", err.Error())
	}
	if c.Pod.Name == "" {
		return nil, types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS name no pod, and policies are about pods",
			"want K8S_POD_NAMESPACE and K8S_POD_NAME, as Kubernetes' runtimes give them")
	}
	if err := g.Stands(); err != nil {
		return nil, types.NewError(types.ErrTryAgainLater, "the pod may not start yet", err.Error())
	}
	key := policy.PodKey{Namespace: c.Pod.Namespace, Name: c.Pod.Name}
	addrs, named, err := wiring(whole)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "reading the previous result", err.Error())
	}
	lead, err := g.Lead(addrs, named)
	if err != nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("policy cannot be enforced on pod %s", key), err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	if err := g.Bind(ctx, lead, policy.Local{Interface: lead.Link, PodKey: key, Addresses: addrs}); err != nil {
		return nil, types.NewError(types.ErrTryAgainLater, "it is not known yet which policies apply to the pod", err.Error())
	}
	return c.print(c.conf.PrevResult)
}

// wiring are a pod's addresses, and the links that are said to be the host's.
func wiring(r *types100.Result) (addrs []netip.Addr, named []string, err error) {
	for _, ip := range r.IPs {
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return nil, nil, fmt.Errorf("%q is no address", ip.Address.IP.String())
		}
		addrs = append(addrs, a.Unmap())
	}
	for _, link := range r.Interfaces {
		if link.Sandbox == "" {
			named = append(named, link.Name)
		}
	}
	return addrs, named, nil
}
