package main

import (
	"slices"
	"strings"

	"github.com/warren-mesh/warren/internal/agent"
	"github.com/warren-mesh/warren/mesh"
)

// defaultPodInterfaces are those of Flannel and whoever has a bridge, and of kindnet and whoever has routed links.
const defaultPodInterfaces = "cni0,veth*"

func (v *validator) mode(mode string) agent.Mode {
	if m := agent.Mode(mode); m == agent.Full || m == agent.MeshOnly {
		return m
	}
	v.wrong("mode", mode, "full or mesh")
	return ""
}

// podLinks are names as the kernel takes them, and wide enough for no other links: what leaves by these is not encrypted.
func (v *validator) podLinks(value, mode string) (names []string) {
	const flag = "pod-interfaces"
	switch {
	case mode != string(agent.MeshOnly) && value != "":
		v.wrong(flag, value, "nothing, or --mode=mesh: otherwise Warren makes the pods' links itself")
		return nil
	case mode != string(agent.MeshOnly):
		return nil
	case value == "":
		value = defaultPodInterfaces
	}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		name := strings.TrimSuffix(item, "*")
		if len(name) < 2 || len(name) > 15 || strings.ContainsAny(name, "/: \t\n*+%\"@") || mesh.NamesLink([]string{item}, "lo") {
			v.wrong(flag, item, `links' names, comma-separated, like cni0 or, for all that begin with it, veth*: 2 to 15 characters, none of / : + % @ " or space, not "lo"`)
			continue
		}
		names = append(names, item)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (v *validator) policy(value, mode string) bool {
	if value == "" {
		return mode != string(agent.MeshOnly)
	}
	return v.boolean("policy", value)
}

// meshOnly refuses what is for pods that Warren gives their network.
func (v *validator) meshOnly(c agent.Config) {
	if c.Policy {
		v.wrong("policy", "true", "false or nothing with --mode=mesh: policy is enforced on pods' links of Warren's own")
	}
	if c.Pools {
		v.wrong("ipam", ipamPools, "node-cidr with --mode=mesh: the other plugin gives addresses of the Node's spec.podCIDRs")
	}
	if mesh.NamesLink(c.PodLinks, c.Interface) {
		v.wrong("pod-interfaces", strings.Join(c.PodLinks, ","), "links that lead to pods, and not --interface "+c.Interface)
	}
}
