package pods

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/ipam"
)

// call is a request that was understood and found to be sound.
type call struct {
	ipam.Request
	asked

	conf types.PluginConf
	// gate says that the plugin is chained behind another one, which has given the pod its network.
	gate bool
}

// podArgs are kubelet's in CNI_ARGS.
type podArgs struct {
	types.CommonArgs
	K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_UID types.UnmarshallableString //nolint:revive // types.LoadArgs finds them by name
}

func parse(command cni.Command, r cni.Request) (c call, err error) {
	var conf struct {
		types.PluginConf
		Gate          bool            `json:"gate"`
		RuntimeConfig json.RawMessage `json:"runtimeConfig"`
	}
	if err := json.Unmarshal(r.Config, &conf); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, "parsing the network configuration", err.Error())
	}
	c.conf, c.gate = conf.PluginConf, conf.Gate
	if e := utils.ValidateNetworkName(c.conf.Name); e != nil {
		return c, e
	}
	c.Network = c.conf.Name
	if command == cni.GC || command == cni.Status {
		return c, nil
	}
	if e := utils.ValidateContainerID(r.ContainerID); e != nil {
		return c, e
	}
	if e := utils.ValidateInterfaceName(r.Interface); e != nil {
		return c, e
	}
	if c.conf.CNIVersion == "" {
		c.conf.CNIVersion = "0.1.0" // what the specification says
	}
	if err := complete(c.conf.RawPrevResult); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, "parsing the previous result", err.Error())
	}
	if err := version.ParsePrevResult(&c.conf); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, "parsing the previous result", err.Error())
	}
	c.Key, c.NetNS = ipam.Key{ContainerID: r.ContainerID, Interface: r.Interface}, r.NetNS
	if c.Pod, err = pod(r.Args); err != nil || command != cni.Add {
		return c, err
	}
	c.asked, err = parseAsked(conf.RuntimeConfig)
	return c, err
}

// complete is an error where something is null that the conversion between versions does not expect to be.
func complete(previous map[string]any) error {
	for _, key := range []string{"interfaces", "ips", "routes"} {
		if list, ok := previous[key].([]any); ok && slices.Contains(list, nil) {
			return fmt.Errorf("one of its %s is null", key)
		}
	}
	return nil
}

// pod reads CNI_ARGS. Callers other than Kubernetes give none of a pod's.
func pod(args string) (ipam.Pod, error) {
	known := podArgs{CommonArgs: types.CommonArgs{IgnoreUnknown: true}}
	if err := types.LoadArgs(args, &known); err != nil {
		return ipam.Pod{}, types.NewError(types.ErrInvalidEnvironmentVariables, "parsing CNI_ARGS", err.Error())
	}
	p := ipam.Pod{Namespace: string(known.K8S_POD_NAMESPACE), Name: string(known.K8S_POD_NAME), UID: string(known.K8S_POD_UID)}
	if (p.Namespace == "") != (p.Name == "") {
		return ipam.Pod{}, types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS have a pod's namespace without its name, or the other way round", "")
	}
	for _, text := range []string{p.Namespace, p.Name, p.UID} {
		if !isName(text) {
			return ipam.Pod{}, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_ARGS have %.100q, which is no name of Kubernetes'", text), "")
		}
	}
	return p, nil
}

// isName holds for all names of Kubernetes, and keeps out what could mislead who reads a link's alias or a log.
func isName(text string) bool {
	const most = 253
	return len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
}

// wiredAs is under which name an interface's wire is found: a pod's, or of what is no pod the container's.
func wiredAs(r ipam.Request) (namespace, name string) {
	if r.Pod.Name == "" {
		return "container", r.ContainerID
	}
	return r.Pod.Namespace, r.Pod.Name
}

// sameWire says whether two requests are of the same interface of the same pod, in whatever sandbox.
func sameWire(a, b ipam.Request) bool {
	namespaceA, nameA := wiredAs(a)
	namespaceB, nameB := wiredAs(b)
	return a.Interface == b.Interface && namespaceA == namespaceB && nameA == nameB
}

func (c call) wire() string {
	namespace, name := wiredAs(c.Request)
	return podnet.HostLink(namespace, name, c.Interface)
}

// names is an error where the result that the runtime knows lacks one of the addresses.
func (c call) names(addrs []netip.Addr) error {
	if c.conf.PrevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "CHECK needs prevResult", "")
	}
	known, err := types100.NewResultFromResult(c.conf.PrevResult)
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, "converting the previous result", err.Error())
	}
	for _, a := range addrs {
		if !slices.ContainsFunc(known.IPs, func(ip *types100.IPConfig) bool { return ip != nil && ip.Address.IP.Equal(a.AsSlice()) }) {
			return fmt.Errorf("the previous result lacks %s, which %s of the container has", a, c.Interface)
		}
	}
	return nil
}
