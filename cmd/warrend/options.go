package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/warren-mesh/warren/internal/agent"
	"github.com/warren-mesh/warren/internal/cni/install"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/mesh/wg"
)

// Options are warrend's flags as they were typed. They are read as text, so that Validate can report every mistake at once.
type Options struct {
	mode, podInterfaces, migrateFrom                        text
	nodeName, kubeconfig, wireguard, iface, listenPort, mtu text
	clusterCIDR, serviceCIDR, natExclude, natOutgoing       text
	ipam, blockIdle, policy                                 text
	stateDir, socket, metrics, logLevel, logFormat          text
	tunnelSocket                                            text
	cniConfDir, cniConfLink, cniBinDir                      text
}

// Config is what valid Options say.
type Config struct {
	Agent agent.Config
	Log   zap.Config
}

// text is a flag's value as it was typed; kind is what --help calls it.
type text struct {
	value, kind string
	// given says that somebody gave it a value.
	given bool
}

func (t *text) String() string { return t.value }
func (t *text) Set(s string) error {
	t.value = strings.TrimSpace(s)
	t.given = t.value != ""
	return nil
}
func (t *text) Type() string { return t.kind }

// AddFlags adds the flags to fs with their defaults.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	add := func(t *text, name, kind, value, usage string) {
		*t = text{value: value, kind: kind}
		fs.Var(t, name, usage)
	}
	add(&o.nodeName, "node-name", "name", "", "name of this machine's Node object (env NODE_NAME; required)")
	add(&o.mode, "mode", "mode", string(agent.Full), "what of Warren runs: full; mesh (beside another plugin, which gives pods their network; policy is not enforced); "+
		"or policy (on another network's pods, and nothing else: the flags of mesh, addresses and NAT are refused)")
	add(&o.podInterfaces, "pod-interfaces", "names", "",
		"the host's links that lead to another plugin's pods, comma-separated, * ends a beginning: to all with --mode=mesh (default cni0,veth*), else to those that are there from before")
	add(&o.migrateFrom, "migrate-from", "names", "",
		"links of the network between nodes that Warren takes the place of, comma-separated, as flannel.1; while this is on, pods' packets leave by them IN CLEAR to nodes that do not answer by WireGuard yet")
	add(&o.kubeconfig, "kubeconfig", "file", "", "kubeconfig to reach the API server with (env KUBECONFIG; default: in-cluster)")
	add(&o.wireguard, "wireguard", "mode", string(wg.Auto), "WireGuard to use: auto (the kernel's where it has it), kernel or userspace")
	add(&o.iface, "interface", "name", agent.DefaultInterface, "name of the WireGuard link")
	add(&o.listenPort, "listen-port", "port", "51820", "UDP port of WireGuard, 1 to 65535; the same on all nodes, open between them")
	add(&o.mtu, "mtu", "bytes", "0", "MTU of the WireGuard link, 1280 to 65455 (0: of the underlay's routes to the peers, less WireGuard's overhead)")
	add(&o.clusterCIDR, "cluster-cidr", "CIDRs", "",
		"the cluster's pod CIDRs, comma-separated, both families: kube-controller-manager's --cluster-cidr (required, but with --mode=policy)")
	add(&o.serviceCIDR, "service-cidr", "CIDRs", "", "the cluster's service CIDRs, comma-separated (default: from the ServiceCIDR API)")
	add(&o.natOutgoing, "nat-outgoing", "bool", "true", "whether pods' packets that leave the cluster have their node's address: true or false")
	add(&o.natExclude, "nat-exclude", "CIDRs", "",
		"destinations out of the cluster that pods reach with their own addresses all the same, comma-separated; other nodes' addresses never are")
	add(&o.ipam, "ipam", "source", ipamNodeCIDR, "where pods' addresses come from: node-cidr (the Node's spec.podCIDRs) or pools (blocks of IPPools)")
	add(&o.blockIdle, "block-idle", "duration", "10m", "with --ipam=pools, how long a block is empty before it is returned, 1s to 24h")
	add(&o.policy, "policy", "bool", "", "whether NetworkPolicies and ClusterNetworkPolicies are enforced: true or false, which takes their rules away (default: true, but with --mode=mesh)")
	add(&o.stateDir, "state-dir", "folder", "/var/lib/warren", "folder for the node's key, the leases, the last good plan, what is known of pools, the pods' rules and the clock's record, readable by root only")
	add(&o.socket, "socket", "file", socket.DefaultPath, "unix socket for the command line and the CNI plugin, open to root only")
	add(&o.tunnelSocket, "tunnel-socket", "file", "", "unix socket of \"warrend tunnel --serve\", which is to run the userspace device (empty: the agent starts a process)")
	add(&o.cniConfDir, "cni-conf-dir", "folder", install.DefaultConfDir, "folder for the CNI configuration, written when pods can have a network (empty: none is written)")
	add(&o.cniConfLink, "cni-conf-link", "bool", "true",
		"whether the CNI configuration is a link to a file beside the socket, which a reboot takes: true, or false for what reads it from a container")
	add(&o.cniBinDir, "cni-bin-dir", "folder", install.DefaultBinDir, "folder to install the CNI plugin in, from beside warrend (empty: it is not installed)")
	add(&o.metrics, "metrics-bind-address", "address", "127.0.0.1:9586", "address:port of /metrics, /healthz and /readyz (empty: none)")
	add(&o.logLevel, "log-level", "level", "info", "debug, info, warn or error")
	add(&o.logFormat, "log-format", "format", "json", "json or text")
}

// Complete fills the flags that were not given from the environment.
func (o *Options) Complete(fs *pflag.FlagSet, lookup func(string) (string, bool)) {
	usual := map[string]string{"node-name": "NODE_NAME", "kubeconfig": "KUBECONFIG"}
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			return
		}
		names := []string{"WARREN_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), usual[f.Name]}
		for _, name := range names {
			if value, ok := lookup(name); ok && name != "" {
				_ = f.Value.Set(value) // text takes anything; Validate judges.
				return
			}
		}
	})
}

// Validate reads all flags. The error names every flag that is wrong, its value and what would be right.
func (o *Options) Validate() (Config, error) {
	var v validator
	if agent.Mode(o.mode.value) == agent.PolicyOnly {
		return o.policyOnly(&v)
	}
	config := Config{
		Agent: agent.Config{
			NodeName:           v.nodeName(o.nodeName.value),
			Mode:               v.mode(o.mode.value),
			PodLinks:           v.podLinks(o.podInterfaces.value, o.mode.value),
			MigrateFrom:        v.oldLinks(o.migrateFrom.value),
			Kubeconfig:         v.optionalPath("kubeconfig", o.kubeconfig.value),
			WireGuard:          v.wireguard(o.wireguard.value),
			Interface:          v.linkName(o.iface.value),
			ListenPort:         uint16(v.number("listen-port", o.listenPort.value, 1, 65535, "a port, 1 to 65535")), //nolint:gosec // bounded
			MTU:                v.mtu(o.mtu.value),
			ClusterCIDRs:       v.cidrs("cluster-cidr", o.clusterCIDR.value, true),
			ServiceCIDRs:       v.cidrs("service-cidr", o.serviceCIDR.value, false),
			NATExclude:         v.cidrs("nat-exclude", o.natExclude.value, false),
			NoNAT:              !v.boolean("nat-outgoing", o.natOutgoing.value),
			Pools:              v.ipam(o.ipam.value) == ipamPools,
			BlockIdle:          v.duration("block-idle", o.blockIdle.value, time.Second, 24*time.Hour),
			Policy:             v.policy(o.policy.value, o.mode.value),
			StateDir:           v.path("state-dir", o.stateDir.value),
			Socket:             v.path("socket", o.socket.value),
			TunnelSocket:       v.optionalPath("tunnel-socket", o.tunnelSocket.value),
			CNIConfDir:         v.optionalPath("cni-conf-dir", o.cniConfDir.value),
			CNIConfLink:        v.boolean("cni-conf-link", o.cniConfLink.value),
			CNIBinDir:          v.optionalPath("cni-bin-dir", o.cniBinDir.value),
			MetricsBindAddress: v.bindAddress(o.metrics.value),
		},
		Log: v.log(o.logLevel.value, o.logFormat.value),
	}
	if config.Agent.Mode == agent.MeshOnly {
		v.meshOnly(config.Agent)
	}
	v.others(config.Agent)
	v.disjoint("service-cidr", config.Agent.ServiceCIDRs, config.Agent.ClusterCIDRs)
	v.disjoint("nat-exclude", config.Agent.NATExclude, config.Agent.ClusterCIDRs)
	return config, errors.Join(v.errs...)
}

// validator gathers mistakes.
type validator struct{ errs []error }

func (v *validator) wrong(flag, value, want string) {
	v.errs = append(v.errs, fmt.Errorf("  --%s %q: want %s", flag, value, want))
}

func (v *validator) nodeName(name string) string {
	if name == "" || len(name) > 253 || strings.ContainsAny(name, "/ \t\n") || name != strings.ToLower(name) {
		v.wrong("node-name", name, "the name of this machine's Node object, as `kubectl get nodes` shows it (or env NODE_NAME)")
	}
	return name
}

func (v *validator) wireguard(mode string) wg.Mode {
	if m := wg.Mode(mode); slices.Contains([]wg.Mode{wg.Auto, wg.Kernel, wg.Userspace}, m) {
		return m
	}
	v.wrong("wireguard", mode, "auto, kernel or userspace")
	return ""
}

// What --ipam may be.
const (
	ipamNodeCIDR = "node-cidr"
	ipamPools    = "pools"
)

func (v *validator) ipam(source string) string {
	if source != ipamNodeCIDR && source != ipamPools {
		v.wrong("ipam", source, "node-cidr or pools")
	}
	return source
}

func (v *validator) duration(flag, value string, low, high time.Duration) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil || d < low || d > high {
		v.wrong(flag, value, fmt.Sprintf("a duration, %s to %s, like 90s or 10m", low, high))
	}
	return d
}

// linkName follows the kernel's dev_valid_name, and leaves out what `ip` and nftables treat specially.
func (v *validator) linkName(name string) string {
	if name == "" || len(name) > 15 || name == "lo" || strings.HasPrefix(name, "wrp") || strings.ContainsAny(name, "/: \t\n*+%\"@") ||
		name == "." || name == ".." {
		v.wrong("interface", name, `a link's name: at most 15 characters, none of / : * + % @ " or space, and not "lo" or "wrp…" (pods')`)
	}
	return name
}

func (v *validator) number(flag, value string, low, high int, want string) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		v.wrong(flag, value, want)
	}
	return n
}

// mtu is at least 1280, below which the kernel turns IPv6 off on a link.
func (v *validator) mtu(value string) int {
	if value == "0" {
		return 0
	}
	return v.number("mtu", value, 1280, 65535-80, "0, or 1280 to 65455 bytes")
}

func (v *validator) cidrs(flag, value string, required bool) []netip.Prefix {
	const want = "CIDRs without host bits, comma-separated, like 10.244.0.0/16,fd00:10:244::/48"
	if value == "" {
		if required {
			v.wrong(flag, value, want+" (kube-controller-manager's --"+flag+")")
		}
		return nil
	}
	var prefixes []netip.Prefix
	for item := range strings.SplitSeq(value, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(item))
		switch {
		case err != nil || p != p.Masked() || p.Addr().Is4In6():
			v.wrong(flag, item, want)
		case p.Bits() == 0 || p.Addr().IsLoopback() || p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast():
			v.wrong(flag, item, "a unicast range: not everything, loopback, link-local or multicast")
		case slices.ContainsFunc(prefixes, p.Overlaps):
			v.wrong(flag, item, "CIDRs that do not overlap")
		default:
			prefixes = append(prefixes, p)
		}
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return prefixes
}

func (v *validator) disjoint(flag string, prefixes, cluster []netip.Prefix) {
	for _, p := range prefixes {
		if slices.ContainsFunc(cluster, p.Overlaps) {
			v.wrong(flag, p.String(), "a range that does not overlap --cluster-cidr")
		}
	}
}

func (v *validator) boolean(flag, value string) bool {
	if value != "true" && value != "false" {
		v.wrong(flag, value, "true or false")
	}
	return value == "true"
}

func (v *validator) path(flag, value string) string {
	if !filepath.IsAbs(value) {
		v.wrong(flag, value, "an absolute path")
	}
	return filepath.Clean(value)
}

func (v *validator) optionalPath(flag, value string) string {
	if value == "" {
		return ""
	}
	return v.path(flag, value)
}

func (v *validator) bindAddress(value string) string {
	if value == "" {
		return ""
	}
	const want = "address:port, like 127.0.0.1:9586, [::1]:9586 or :9586, or nothing"
	host, port, err := net.SplitHostPort(value)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil {
		v.wrong("metrics-bind-address", value, want)
		return ""
	}
	v.number("metrics-bind-address", port, 1, 65535, want)
	return value
}

func (v *validator) log(level, format string) zap.Config {
	config := zap.NewProductionConfig()
	config.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.DisableStacktrace = true
	config.Sampling = nil
	parsed, err := zapcore.ParseLevel(level)
	if err != nil || !slices.Contains([]string{"debug", "info", "warn", "error"}, level) {
		v.wrong("log-level", level, "debug, info, warn or error")
	}
	config.Level = zap.NewAtomicLevelAt(parsed)
	switch format {
	case "json":
	case "text":
		config.Encoding = "console"
	default:
		v.wrong("log-format", format, "json or text")
	}
	return config
}
