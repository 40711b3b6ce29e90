package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/mesh"
)

// Node is one node of the lab. As a [Host] its addresses are those on the underlay.
type Node struct {
	Host
	// PodCIDRs were given to the node by the controller-manager, MeshAddresses follow from them.
	PodCIDRs      []netip.Prefix
	MeshAddresses []netip.Addr

	lab   *Lab
	index int
	dir   string // <lab>/nodes/<name>

	pods []*Pod // guarded by lab.mu

	mu    sync.Mutex // guards the rest
	agent *agentProcess
	// program is what the agent is started from; "" for the lab's warrend.
	program string
	// kubeconfig is the file with the credential of the agent's last start.
	kubeconfig string
	next       int // offset of the next pod's address of those that are attached by hand
	sandboxes  int // how many pods the runtime was asked for
	// known are the Pod objects of which the node's kubelet knows, and the addresses that it reported last.
	known map[types.NamespacedName][]netip.Addr
}

// firstPod is the offset of the first pod's address from a pod CIDR's base: before it is the mesh address.
const firstPod = 2

// AddNode adds a node, with its Node object but without an agent, and returns when it has its pod CIDRs.
func (l *Lab) AddNode(ctx context.Context) (*Node, error) {
	added, err := l.addNodes(ctx, 1)
	if err != nil {
		return nil, err
	}
	return added[0], nil
}

// addNodes adds nodes one after the other: so their pod CIDRs are in the order of their numbers.
func (l *Lab) addNodes(ctx context.Context, count int) ([]*Node, error) {
	l.adding.Lock()
	defer l.adding.Unlock()
	first := 1
	for _, n := range l.Nodes() {
		first = max(first, n.index+1)
	}
	if first+count-1 > maxNodes {
		return nil, fmt.Errorf("adding %d nodes: there is room for %d", count, maxNodes-first+1)
	}
	var added []*Node
	for index := first; index < first+count; index++ {
		n, err := l.makeNode(index)
		if err == nil {
			err = l.register(ctx, n)
		}
		if err != nil {
			return nil, fmt.Errorf("adding node n%d: %w", index, err)
		}
		l.say("node %s: %s, pods %s", n.Name, join(n.Addresses), join(n.PodCIDRs))
		added = append(added, n)
	}
	return added, l.saveState()
}

// makeNode makes the namespaces, and the cable to the switch.
func (l *Lab) makeNode(index int) (*Node, error) {
	l.mu.Lock()
	options := l.options
	l.mu.Unlock()
	name := fmt.Sprintf("n%d", index)
	n := &Node{lab: l, index: index, next: firstPod, dir: filepath.Join(l.dir, "nodes", name)}
	n.Host = Host{
		Name: name, Addresses: options.UnderlayFamilies.underlayAddresses(10 + index),
		bin: options.Bin, env: append([]string{"NODE_NAME=" + name}, n.cniEnv()...), children: &l.children,
	}
	if err := os.MkdirAll(n.StateDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making its folder: %w", err)
	}
	if err := n.boot(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.nodes = append(l.nodes, n)
	slices.SortFunc(l.nodes, func(a, b *Node) int { return a.index - b.index })
	l.mu.Unlock()
	return n, nil
}

// boot makes the node's namespaces, its cable and its echo service. Its state folder is there.
func (n *Node) boot() error {
	l := n.lab
	l.mu.Lock()
	options := l.options
	l.mu.Unlock()
	ns, err := l.Switch().ns.derive(func() error { return prepareNode(n.Name, l.dir, n.StateDir()) })
	if err != nil {
		return err
	}
	l.closers.add(ns)
	n.ns = ns
	if err := n.Do(func() error { return configureNode(options) }); err != nil {
		return err
	}
	if err := l.Switch().Do(func() error { return plug(n.Name, n.index, ns.net, options) }); err != nil {
		return err
	}
	if err := n.Do(func() error { return configureUplink(n.Addresses, options) }); err != nil {
		return err
	}
	if n.echo, err = n.serveEcho(); err != nil {
		return err
	}
	l.closers.add(n.echo)
	return nil
}

// prepareNode gives a node a host name and folders of its own. It runs in the node's namespaces.
func prepareNode(name, labDir, state string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := mountRun(labDir); err != nil {
		return err
	}
	if err := bind(state, stateDir); err != nil {
		return err
	}
	if err := mountTmpfs(pluginsDir); err != nil {
		return err
	}
	const cni = "/etc/cni"
	if info, err := os.Stat(cni); err == nil && info.IsDir() {
		return mountTmpfs(cni)
	}
	return nil
}

// Enter makes a process that has namespaces of its own the inside of the node, as its first process is of a machine: what is run on the
// node from now on runs there. The network stays the node's.
func (n *Node) Enter(pid int) error {
	ns, err := namespacesOf(pid)
	if err != nil {
		return fmt.Errorf("entering process %d of %s: %w", pid, n.Name, err)
	}
	n.lab.closers.add(ns)
	n.lab.mu.Lock()
	n.ns = ns
	n.lab.mu.Unlock()
	return n.lab.saveState()
}

// setPodCIDRs takes note of what the node was given.
func (n *Node) setPodCIDRs(prefixes []netip.Prefix) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	n.PodCIDRs, n.MeshAddresses = prefixes, mesh.Addresses(prefixes)
}

// Pods are the node's pods, in the order in which they were added.
func (n *Node) Pods() []*Pod {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	return slices.Clone(n.pods)
}

// Pod is the node's pod of that name, or nil.
func (n *Node) Pod(name string) *Pod {
	for _, p := range n.Pods() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// StateDir is the node's /var/lib/warren as the machine sees it.
func (n *Node) StateDir() string { return filepath.Join(n.dir, "state") }
