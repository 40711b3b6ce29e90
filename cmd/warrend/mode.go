package main

import (
	"errors"
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
	v.wrong("mode", mode, "full, mesh or policy")
	return ""
}

// podLinks are names as the kernel takes them, and wide enough for no other links: what leaves by these is not encrypted.
func (v *validator) podLinks(value, mode string) (names []string) {
	const flag = "pod-interfaces"
	switch {
	case value == "" && mode == string(agent.MeshOnly):
		value = defaultPodInterfaces
	case value == "":
		return nil
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
}

// others refuses links of others that would be taken for what they are not.
func (v *validator) others(c agent.Config) {
	if mesh.NamesLink(c.PodLinks, c.Interface) || mesh.NamesLink(c.PodLinks, mesh.PodLinkPrefix) {
		v.wrong("pod-interfaces", strings.Join(c.PodLinks, ","), "links that lead to pods, and not --interface "+c.Interface+" or Warren's own pods' (wrp…)")
	}
	if c.Mode == agent.Full && c.Pools && len(c.PodLinks) > 0 {
		v.wrong("pod-interfaces", strings.Join(c.PodLinks, ","), "nothing with --ipam=pools: pods from before have addresses of the Node's spec.podCIDRs")
	}
	for _, link := range c.MigrateFrom {
		if link == c.Interface || mesh.NamesLink(c.PodLinks, link) {
			v.wrong("migrate-from", link, "a link to other nodes, and not --interface or one of --pod-interfaces")
		}
	}
	if len(c.MigrateFrom) > 0 && (c.Mode != agent.Full || c.Pools) {
		v.wrong("migrate-from", strings.Join(c.MigrateFrom, ","), "nothing, or --mode=full with --ipam=node-cidr: pods keep their addresses, and get their network from Warren after it")
	}
}

// policyOnly is Validate with --mode=policy. What is for the mesh, and for pods that Warren gives their network, is refused: somebody who gives it means
// another mode, or that it has an effect.
func (o *Options) policyOnly(v *validator) (Config, error) {
	for _, meaningless := range []struct {
		flag string
		text
	}{
		{"pod-interfaces", o.podInterfaces}, {"migrate-from", o.migrateFrom}, {"wireguard", o.wireguard}, {"interface", o.iface}, {"listen-port", o.listenPort}, {"mtu", o.mtu},
		{"cluster-cidr", o.clusterCIDR}, {"service-cidr", o.serviceCIDR}, {"nat-outgoing", o.natOutgoing}, {"nat-exclude", o.natExclude},
		{"ipam", o.ipam}, {"block-idle", o.blockIdle}, {"tunnel-socket", o.tunnelSocket},
		{"cni-conf-link", o.cniConfLink},
	} {
		if meaningless.given {
			v.wrong(meaningless.flag, meaningless.value, "nothing with --mode=policy: the network is another's, and Warren has no mesh, addresses or NAT there")
		}
	}
	if o.policy.given && o.policy.value != "true" {
		v.wrong("policy", o.policy.value, "true or nothing with --mode=policy")
	}
	config := Config{
		Agent: agent.Config{
			NodeName:           v.nodeName(o.nodeName.value),
			Mode:               agent.PolicyOnly,
			Kubeconfig:         v.optionalPath("kubeconfig", o.kubeconfig.value),
			Policy:             true,
			StateDir:           v.path("state-dir", o.stateDir.value),
			Socket:             v.path("socket", o.socket.value),
			CNIConfDir:         v.optionalPath("cni-conf-dir", o.cniConfDir.value),
			CNIBinDir:          v.optionalPath("cni-bin-dir", o.cniBinDir.value),
			MetricsBindAddress: v.bindAddress(o.metrics.value),
		},
		Log: v.log(o.logLevel.value, o.logFormat.value),
	}
	return config, errors.Join(v.errs...)
}

// oldLinks are names as the kernel takes them.
func (v *validator) oldLinks(value string) (names []string) {
	if value == "" {
		return nil
	}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if len(item) < 2 || len(item) > 15 || item == "lo" || strings.HasPrefix(item, mesh.PodLinkPrefix) || strings.ContainsAny(item, "/: \t\n*+%\"@") {
			v.wrong("migrate-from", item, `links' names, comma-separated, like flannel.1,flannel-v6.1: 2 to 15 characters, none of / : * + % @ " or space, not "lo" or "wrp…"`)
			continue
		}
		names = append(names, item)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
