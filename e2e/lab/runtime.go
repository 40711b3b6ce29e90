package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// CNIConfDir is where a node's runtime looks for CNI configurations: beside the node's state, so that nothing of the machine is touched.
func (n *Node) CNIConfDir() string { return filepath.Join(n.dir, "cni", "net.d") }

// CNIBinDir is where it looks for CNI plugins.
func (n *Node) CNIBinDir() string { return filepath.Join(n.dir, "cni", "bin") }

// cniEnv tells an agent of those. Variables, since builds of before do not know the flags.
func (n *Node) cniEnv() []string {
	return []string{"WARREN_CNI_CONF_DIR=" + n.CNIConfDir(), "WARREN_CNI_BIN_DIR=" + n.CNIBinDir()}
}

// cniPatience is how long a pod waits for its network where the agent says that it may come.
const cniPatience = 20 * time.Second

// sandbox is a pod as its node's runtime knows it.
type sandbox struct {
	list *libcni.NetworkConfigList
	conf *libcni.RuntimeConf
}

// plugIn gives a pod its network, as a runtime does. Like kubelet it tries again while the plugin says "later".
func (n *Node) plugIn(ctx context.Context, p *Pod) error {
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(cniPatience))
	defer cancel()
	for {
		err := n.tryPlugIn(ctx, p)
		var e *types.Error
		switch {
		case err == nil || p.once:
			return err
		case !errors.Is(err, fs.ErrNotExist) && (!errors.As(err, &e) || e.Code != types.ErrTryAgainLater):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w%s", err, n.logTail())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (n *Node) tryPlugIn(ctx context.Context, p *Pod) error {
	list, err := n.conflist()
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.sandboxes++
	id := fmt.Sprintf("%s-%s-%d", n.Name, p.ObjectName, n.sandboxes)
	n.mu.Unlock()
	s := &sandbox{list: list, conf: &libcni.RuntimeConf{
		ContainerID: id, NetNS: filepath.Join(n.dir, "netns", id), IfName: uplink, CapabilityArgs: p.asks,
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", p.Namespace}, {"K8S_POD_NAME", p.ObjectName}, {"K8S_POD_INFRA_CONTAINER_ID", id}},
	}}
	if err := n.showNetNS(p, s.conf.NetNS); err != nil {
		return err
	}
	result, err := n.cni().AddNetworkList(ctx, list, s.conf)
	if err == nil {
		p.Addresses, err = addressesOf(result)
	}
	if err != nil {
		return errors.Join(err, n.unplug(context.WithoutCancel(ctx), s)) // as runtimes do
	}
	p.sandbox = s
	return nil
}

// conflist is the first configuration by name, as runtimes take it: the one that the node's agent wrote, or another plugin's. It is
// fs.ErrNotExist while there is none, or its link leads nowhere.
func (n *Node) conflist() (*libcni.NetworkConfigList, error) {
	files, err := filepath.Glob(filepath.Join(n.CNIConfDir(), "*.conflist"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	var content []byte
	err = n.Inside(func() (err error) { // it may be a link into the node's /run
		content, err = os.ReadFile(slices.Min(files))
		return err
	})
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(content)
}

// cni runs plugins inside the node.
func (n *Node) cni() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir([]string{n.CNIBinDir()}, filepath.Join(n.dir, "cni", "cache"), executor{n})
}

// unplug deletes a pod's network. Its namespace is not seen by that name any more.
func (n *Node) unplug(ctx context.Context, s *sandbox) error {
	err := n.cni().DelNetworkList(ctx, s.list, s.conf)
	return errors.Join(err, n.Inside(func() error {
		return errors.Join(unix.Unmount(s.conf.NetNS, unix.MNT_DETACH), os.Remove(s.conf.NetNS))
	}))
}

// showNetNS makes a pod's network namespace a file on its node.
func (n *Node) showNetNS(p *Pod, path string) error {
	fd, err := unix.OpenTree(int(p.ns.net.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("copying the mount of a network namespace: %w", err)
	}
	return n.Inside(func() error {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), touch(path, false)); err != nil { //nolint:gosec // in a tmpfs of our own
			return errors.Join(err, unix.Close(fd))
		}
		return tree(fd).put(path)
	})
}

func addressesOf(r types.Result) ([]netip.Addr, error) {
	result, err := types100.NewResultFromResult(r)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, ip := range result.IPs {
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return nil, fmt.Errorf("the plugin gives the address %s", ip.Address.String())
		}
		addrs = append(addrs, a.Unmap())
	}
	return addrs, nil
}
