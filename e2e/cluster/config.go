package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
)

// containerdConfig: what needs CAP_SYS_RESOURCE is left out, since not every machine gives it.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
`

// kubeletConfig: the machine's disk may be as full as it is, and what is not in /usr is in the node's own folders.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /etc/kubernetes/ca.crt}}
authorization: {mode: Webhook}
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: /etc/resolv.conf
volumePluginDir: /var/lib/kubelet/volumeplugins
evictionHard: {imagefs.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", memory.available: "50Mi"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
`

// sysctls are what kubelet wants of the machine's own: it finds them so.
var sysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// units are the programs of a node, in the order of their start.
func (c *Cluster) units(n *lab.Node) []node.Unit {
	var pods []string
	for _, prefix := range c.podCIDRs() {
		pods = append(pods, prefix.String())
	}
	var addresses []string
	for _, address := range n.Addresses {
		addresses = append(addresses, address.String())
	}
	return []node.Unit{
		{Name: "containerd", Args: []string{"containerd", "--config", "/etc/containerd.toml"}},
		{Name: "kubelet", After: imported, Args: []string{
			filepath.Join(c.programs.nodes, "kubelet"), "--config=/etc/kubernetes/kubelet.yaml", "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
			"--node-ip=" + strings.Join(addresses, ","), "--hostname-override=" + n.Name, "--v=2",
		}},
		{Name: "kube-proxy", Args: []string{
			filepath.Join(c.programs.nodes, "kube-proxy"), "--kubeconfig=/etc/kubernetes/kube-proxy.kubeconfig", "--hostname-override=" + n.Name,
			"--proxy-mode=nftables", "--cluster-cidr=" + strings.Join(pods, ","), "--conntrack-max-per-core=0", "--oom-score-adj=0",
			// In this mode it has no rule that drops what conntrack finds invalid: a segment out of a connection's window would reach a
			// client without the service's address, and be answered with a reset.
			"--conntrack-tcp-be-liberal",
		}},
	}
}

func (c *Cluster) podCIDRs() []netip.Prefix {
	var prefixes []netip.Prefix
	for _, s := range []string{"10.244.0.0/16", "fd00:10:244::/48"} {
		if p := netip.MustParsePrefix(s); p.Addr().Is4() && c.options.Families != lab.IPv6 || p.Addr().Is6() && c.options.Families != lab.IPv4 {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}

// configureNode writes the configuration of a node's programs, and the plugin that containerd itself calls.
func (c *Cluster) configureNode(n *lab.Node, root string) error {
	kubelet, err := c.Lab.Cluster().NodeKubeconfig(n.Name)
	if err != nil {
		return err
	}
	proxy, err := c.Lab.Cluster().ProxyKubeconfig()
	if err != nil {
		return err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	files := map[string][]byte{
		"containerd.toml": []byte(containerdConfig), "kubernetes/kubelet.yaml": []byte(kubeletConfig),
		"machine-id": []byte(hex.EncodeToString(id) + "\n"), "resolv.conf": []byte("nameserver 127.0.0.1\n"),
		"hostname": []byte(n.Name + "\n"), "hosts": []byte("127.0.0.1 localhost\n::1 localhost\n"),
	}
	for name, source := range map[string]string{
		"kubernetes/kubelet.kubeconfig": kubelet, "kubernetes/kube-proxy.kubeconfig": proxy, "kubernetes/ca.crt": c.Lab.Cluster().AuthorityFile(),
	} {
		if files[name], err = os.ReadFile(source); err != nil { //nolint:gosec // the control plane's
			return err
		}
	}
	etc := filepath.Join(root, "etc")
	if err := os.MkdirAll(filepath.Join(etc, "kubernetes"), 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(etc, name), content, 0o644); err != nil { //nolint:gosec // in a folder of root's alone
			return fmt.Errorf("configuring node %s: %w", n.Name, err)
		}
	}
	return c.installPlugins(n.Name, "loopback", "portmap") // as Kubernetes' packages do
}

// installPlugins puts reference plugins on a node.
func (c *Cluster) installPlugins(name string, plugins ...string) error {
	var errs []error
	for _, plugin := range plugins {
		content, err := os.ReadFile(filepath.Join(c.programs.cni, plugin)) //nolint:gosec // of the callers' lists
		if err == nil {
			err = os.WriteFile(filepath.Join(c.root(name), "opt/cni/bin", plugin), content, 0o755) //nolint:gosec // it is a program
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("installing CNI plugins on %s: %w", name, err)
	}
	return nil
}

// logLines is how many of a log's last lines an error shows.
const logLines = 12

// tail is the end of a log, on lines of its own.
func tail(file string) string {
	content, err := os.ReadFile(file) //nolint:gosec // of this cluster
	if err != nil || len(content) == 0 {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	lines = lines[max(0, len(lines)-logLines):]
	return fmt.Sprintf("\n--- the end of %s\n%s", file, bytes.Join(lines, []byte("\n")))
}
