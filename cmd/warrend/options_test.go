package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/warren-mesh/warren/internal/agent"
	"github.com/warren-mesh/warren/mesh/wg"
)

func parse(t *testing.T, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	var o Options
	fs := pflag.NewFlagSet("warrend", pflag.ContinueOnError)
	o.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	o.Complete(fs, func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	return o.Validate()
}

func TestDefaults(t *testing.T) {
	got, err := parse(t, map[string]string{"NODE_NAME": "n1"}, "--cluster-cidr=fd00:10:244::/48, 10.244.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	want := agent.Config{
		NodeName: "n1", Mode: agent.Full, WireGuard: wg.Auto, Interface: "warren0", ListenPort: 51820,
		ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")},
		BlockIdle:    10 * time.Minute,
		Policy:       true,
		StateDir:     "/var/lib/warren", Socket: "/run/warren/agent.sock", CNIConfDir: "/etc/cni/net.d", CNIConfLink: true, CNIBinDir: "/opt/cni/bin", MetricsBindAddress: "127.0.0.1:9586",
	}
	if diff := cmp.Diff(want, got.Agent, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestFlagsWinOverEnvironment(t *testing.T) {
	env := map[string]string{"NODE_NAME": "env", "WARREN_LISTEN_PORT": "4500", "WARREN_IPAM": "pools", "WARREN_CLUSTER_CIDR": "10.1.0.0/16"}
	got, err := parse(t, env, "--node-name=flag")
	if err != nil {
		t.Fatal(err)
	}
	if got.Agent.NodeName != "flag" || got.Agent.ListenPort != 4500 || !got.Agent.Pools {
		t.Errorf("node name %q, port %d and pools %v, want flag, 4500 and pools", got.Agent.NodeName, got.Agent.ListenPort, got.Agent.Pools)
	}
}

func TestMeshOnly(t *testing.T) {
	env := map[string]string{"NODE_NAME": "n1", "WARREN_CLUSTER_CIDR": "10.1.0.0/16", "WARREN_MODE": "mesh"}
	got, err := parse(t, env)
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Agent; c.Mode != agent.MeshOnly || c.Policy || !slices.Equal(c.PodLinks, []string{"cni0", "veth*"}) {
		t.Errorf("mode %q, policy %v and links %q", c.Mode, c.Policy, c.PodLinks)
	}
	got, err = parse(t, env, "--policy=false", "--pod-interfaces=tap*, br-pods,tap*")
	if err != nil || !slices.Equal(got.Agent.PodLinks, []string{"br-pods", "tap*"}) {
		t.Errorf("links %q, %v", got.Agent.PodLinks, err)
	}
	for name, tt := range map[string]struct {
		args []string
		says []string
	}{
		"another mode":         {[]string{"--mode=meshed"}, []string{`--mode "meshed": want full, mesh or policy`}},
		"policy":               {[]string{"--policy=true"}, []string{`--policy "true": want false or nothing with --mode=mesh`}},
		"pools":                {[]string{"--ipam=pools"}, []string{`--ipam "pools": want node-cidr with --mode=mesh`}},
		"links of pools":       {[]string{"--mode=full", "--ipam=pools", "--pod-interfaces=cni0"}, []string{`--pod-interfaces "cni0": want nothing with --ipam=pools`}},
		"our own links":        {[]string{"--mode=full", "--pod-interfaces=wr*"}, []string{`--pod-interfaces "wr*": want links that lead to pods`}},
		"migrated, mesh":       {[]string{"--migrate-from=flannel.1"}, []string{`--migrate-from "flannel.1": want nothing, or --mode=full with --ipam=node-cidr`}},
		"migrated, pools":      {[]string{"--mode=full", "--ipam=pools", "--migrate-from=flannel.1"}, []string{`--migrate-from "flannel.1": want nothing, or`}},
		"migrated from us":     {[]string{"--mode=full", "--migrate-from=warren0,wrp0,lo,f*"}, []string{`"warren0": want a link to other nodes`, `"wrp0": want`, `"lo": want`, `"f*": want links' names`}},
		"migrated from pods":   {[]string{"--mode=full", "--pod-interfaces=cni0", "--migrate-from=cni0"}, []string{`--migrate-from "cni0": want a link to other nodes`}},
		"all links":            {[]string{"--pod-interfaces=*"}, []string{`--pod-interfaces "*": want links' names`}},
		"one letter":           {[]string{"--pod-interfaces=e*"}, []string{`--pod-interfaces "e*": want`}},
		"two stars":            {[]string{"--pod-interfaces=ve*h*"}, []string{`--pod-interfaces "ve*h*": want`}},
		"nothing between":      {[]string{"--pod-interfaces=cni0,,veth*"}, []string{`--pod-interfaces "": want`}},
		"too long":             {[]string{"--pod-interfaces=cni0123456789012"}, []string{`--pod-interfaces "cni0123456789012": want`}},
		"lo":                   {[]string{"--pod-interfaces=lo"}, []string{`--pod-interfaces "lo": want`}},
		"what begins like lo":  {[]string{"--pod-interfaces=lo*"}, []string{`--pod-interfaces "lo*": want`}},
		"the lane":             {[]string{"--pod-interfaces=warren*"}, []string{`--pod-interfaces "warren*": want links that lead to pods, and not --interface warren0`}},
		"several, all at once": {[]string{"--policy=yes", "--ipam=pools", "--pod-interfaces=a/b"}, []string{`--policy "yes": want true or false`, "--ipam", `"a/b"`}},
	} {
		_, err := parse(t, env, tt.args...)
		for _, says := range tt.says {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: got %v, want it to say %s", name, err, says)
			}
		}
	}
}

func TestPolicyOnly(t *testing.T) {
	env := map[string]string{"NODE_NAME": "n1", "WARREN_MODE": "policy", "WARREN_TUNNEL_SOCKET": ""}
	got, err := parse(t, env, "--metrics-bind-address=")
	want := agent.Config{
		NodeName: "n1", Mode: agent.PolicyOnly, Policy: true,
		StateDir: "/var/lib/warren", Socket: "/run/warren/agent.sock", CNIConfDir: "/etc/cni/net.d", CNIBinDir: "/opt/cni/bin",
	}
	if diff := cmp.Diff(want, got.Agent); err != nil || diff != "" {
		t.Errorf("%v, config (-want +got):\n%s", err, diff)
	}
	env["WARREN_CLUSTER_CIDR"] = "10.1.0.0/16"
	_, err = parse(t, env, "--listen-port=51820", "--policy=false", "--socket=s", "--log-level=loud")
	const why = ": want nothing with --mode=policy: the network is another's, and Warren has no mesh, addresses or NAT there\n"
	said := `  --listen-port "51820"` + why + `  --cluster-cidr "10.1.0.0/16"` + why + `  --policy "false": want true or nothing with --mode=policy
  --socket "s": want an absolute path
  --log-level "loud": want debug, info, warn or error`
	if err == nil || err.Error() != said {
		t.Errorf("error (-want +got):\n%s", cmp.Diff(said, err.Error()))
	}
	// Each flag is one of those, or used.
	var o Options
	fs := pflag.NewFlagSet("warrend", pflag.ContinueOnError)
	o.AddFlags(fs)
	used := []string{"node-name", "mode", "kubeconfig", "policy", "state-dir", "socket", "cni-conf-dir", "cni-bin-dir", "metrics-bind-address", "log-level", "log-format"}
	fs.VisitAll(func(f *pflag.Flag) {
		_, err := parse(t, map[string]string{"NODE_NAME": "n1"}, "--mode=policy", "--"+f.Name+"=x")
		refused := err != nil && strings.Contains(err.Error(), "--"+f.Name+` "x": want nothing with --mode=policy`)
		if refused == slices.Contains(used, f.Name) {
			t.Errorf("--%s: %v", f.Name, err)
		}
	})
}

// TestEveryMistakeAtOnce is the whole text that a user sees.
func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := parse(t, nil, "--wireguard=fast", "--interface=warren0123456789", "--listen-port=70000", "--mtu=900",
		"--cluster-cidr=10.244.0.1/16,0.0.0.0/0,10.96.0.0/12", "--service-cidr=10.96.0.0/16,x",
		"--nat-outgoing=no", "--nat-exclude=192.0.2.1/24,10.97.0.0/16", "--ipam=pool", "--block-idle=10", "--state-dir=lib",
		"--kubeconfig=k", "--socket=s", "--cni-conf-dir=c", "--cni-conf-link=no", "--cni-bin-dir=b", "--metrics-bind-address=localhost:99999", "--log-level=loud", "--log-format=xml")
	if err == nil {
		t.Fatal("no error")
	}
	want := strings.TrimPrefix(`
  --node-name "": want the name of this machine's Node object, as ~kubectl get nodes~ shows it (or env NODE_NAME)
  --kubeconfig "k": want an absolute path
  --wireguard "fast": want auto, kernel or userspace
  --interface "warren0123456789": want a link's name: at most 15 characters, none of / : * + % @ " or space, and not "lo" or "wrp…" (pods')
  --listen-port "70000": want a port, 1 to 65535
  --mtu "900": want 0, or 1280 to 65455 bytes
  --cluster-cidr "10.244.0.1/16": want CIDRs without host bits, comma-separated, like 10.244.0.0/16,fd00:10:244::/48
  --cluster-cidr "0.0.0.0/0": want a unicast range: not everything, loopback, link-local or multicast
  --service-cidr "x": want CIDRs without host bits, comma-separated, like 10.244.0.0/16,fd00:10:244::/48
  --nat-exclude "192.0.2.1/24": want CIDRs without host bits, comma-separated, like 10.244.0.0/16,fd00:10:244::/48
  --nat-outgoing "no": want true or false
  --ipam "pool": want node-cidr or pools
  --block-idle "10": want a duration, 1s to 24h0m0s, like 90s or 10m
  --state-dir "lib": want an absolute path
  --socket "s": want an absolute path
  --cni-conf-dir "c": want an absolute path
  --cni-conf-link "no": want true or false
  --cni-bin-dir "b": want an absolute path
  --metrics-bind-address "localhost:99999": want address:port, like 127.0.0.1:9586, [::1]:9586 or :9586, or nothing
  --log-level "loud": want debug, info, warn or error
  --log-format "xml": want json or text
  --service-cidr "10.96.0.0/16": want a range that does not overlap --cluster-cidr
  --nat-exclude "10.97.0.0/16": want a range that does not overlap --cluster-cidr`, "\n")
	if diff := cmp.Diff(strings.ReplaceAll(want, "~", "`"), err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestClusterCIDRIsRequired(t *testing.T) {
	_, err := parse(t, nil, "--node-name=n1")
	if err == nil || !strings.Contains(err.Error(), "--cluster-cidr") {
		t.Errorf("error %v, want one that names --cluster-cidr", err)
	}
}
