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

// Call answers the plugin. To ADD it gives back the other plugin's result as it is.
func (g PolicyGate) Call(ctx context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	return gated("policy", command, r, g.Stands, func(c call, given *types100.Result) error { return g.admit(ctx, c, given) })
}

func (g PolicyGate) admit(ctx context.Context, c call, given *types100.Result) error {
	if c.Pod.Name == "" {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS name no pod, and policies are about pods",
			"want K8S_POD_NAMESPACE and K8S_POD_NAME, as Kubernetes' runtimes give them")
	}
	key := policy.PodKey{Namespace: c.Pod.Namespace, Name: c.Pod.Name}
	addrs, named, err := wiring(given)
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, "reading the previous result", err.Error())
	}
	lead, err := g.Lead(addrs, named)
	if err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("policy cannot be enforced on pod %s", key), err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	if err := g.Bind(ctx, lead, policy.Local{Interface: lead.Link, PodKey: key, Addresses: addrs}); err != nil {
		return types.NewError(types.ErrTryAgainLater, "it is not known yet which policies apply to the pod", err.Error())
	}
	return nil
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
