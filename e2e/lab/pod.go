package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/mesh"
)

// Pod is one pod of a node, in namespaces of its own. It has a Pod object only if it was added by [Node.AddPodLike].
type Pod struct {
	Host
	Node *Node
	// Namespace is the Kubernetes namespace that it is said to be of.
	Namespace string
	// sandbox is what the node's runtime knows of it; nil for a pod that was attached by hand. asks is what it asks the plugins for, by
	// their capabilities.
	sandbox *sandbox
	asks    map[string]any
	// object says that it has a Pod object.
	object bool
}

// podNamespace is where pods of a lab are said to be that nothing else is said of.
const podNamespace = "default"

// AddPod adds a pod as a container runtime does: by the CNI configuration and plugin that the node's agent has installed, which it waits
// for. On a node that never had an agent it is attached by hand.
func (n *Node) AddPod(ctx context.Context, name string) (*Pod, error) {
	return n.AddPodOf(ctx, podNamespace, name)
}

// AddPodOf is AddPod for a pod of a namespace.
func (n *Node) AddPodOf(ctx context.Context, namespace, name string) (*Pod, error) {
	n.mu.Lock()
	managed := n.agent != nil
	n.mu.Unlock()
	if !managed {
		return n.AddPodByHand(ctx, name)
	}
	return n.addPod(namespace, name, func(p *Pod) error { return n.plugIn(ctx, p) })
}

// AddPodAsking adds a pod for which the runtime asks the plugins for more, by the capabilities of the configuration.
func (n *Node) AddPodAsking(ctx context.Context, name string, asks map[string]any) (*Pod, error) {
	return n.addPod(podNamespace, name, func(p *Pod) error {
		p.asks = asks
		return n.plugIn(ctx, p)
	})
}

// AddPodByHand adds a pod that no agent knows, with the next free address of each of the node's pod CIDRs: where the agent cannot give it
// a network. The MTU is the lane's or, where there is none yet, what the underlay leaves for it.
func (n *Node) AddPodByHand(_ context.Context, name string) (*Pod, error) {
	if len(n.Pods()) > lastPod-firstPod {
		return nil, fmt.Errorf("adding pod %s/%s: no address is free", n.Name, name)
	}
	return n.addPod(podNamespace, name, func(p *Pod) error {
		p.Addresses = n.nextAddresses()
		mtu, err := n.podMTU()
		if err != nil {
			return err
		}
		return n.Do(func() error {
			_, err := podnet.Attach(podnet.Spec{
				NetNS: p.NetNS(), Interface: uplink, Namespace: p.Namespace, Name: p.Name, Addresses: p.Addresses, MTU: mtu,
			})
			return err
		})
	})
}

// addPod makes a pod's namespaces, attaches it, and starts what answers in it.
func (n *Node) addPod(namespace, name string, attach func(*Pod) error) (*Pod, error) {
	if n.Pod(name) != nil {
		return nil, fmt.Errorf("adding pod %s/%s: it is there", n.Name, name)
	}
	p := &Pod{Node: n, Namespace: namespace, Host: Host{Name: name, bin: n.bin, env: n.env, children: n.children}}
	var err error
	if p.ns, err = n.ns.derive(func() error { return preparePod(name, n.lab.dir) }); err == nil {
		n.lab.closers.add(p.ns)
		err = attach(p)
	}
	if err == nil {
		p.echo, err = p.serveEcho()
	}
	if err != nil {
		return nil, fmt.Errorf("adding pod %s/%s: %w", n.Name, name, err)
	}
	n.lab.closers.add(p.echo)
	n.lab.mu.Lock()
	n.pods = append(n.pods, p)
	n.lab.mu.Unlock()
	return p, n.lab.saveState()
}

// preparePod gives a pod a host name and hides the node's folders. It runs in the pod's namespaces.
func preparePod(name, labDir string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := mountRun(labDir); err != nil {
		return err
	}
	if err := mountTmpfs(stateDir); err != nil {
		return err
	}
	return loopbackUp()
}

// lastPod is the offset of the last pod's address; after it comes the first one again that no pod has.
const lastPod = 249

func (n *Node) nextAddresses() []netip.Addr {
	pods := n.Pods()
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		var addrs []netip.Addr
		for _, p := range n.PodCIDRs {
			addrs = append(addrs, nth(p, n.next))
		}
		if n.next++; n.next > lastPod {
			n.next = firstPod
		}
		if !slices.ContainsFunc(pods, func(p *Pod) bool { return slices.Equal(p.Addresses, addrs) }) {
			return addrs
		}
	}
}

// WireGuard's overhead, in bytes, over IPv4 and over IPv6.
const (
	overhead4 = 60
	overhead6 = 80
)

func (n *Node) podMTU() (mtu int, err error) {
	err = n.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("listing the links of %s: %w", n.Name, err)
		}
		for _, link := range links {
			if link.Attrs().Alias == mesh.LaneAlias {
				mtu = link.Attrs().MTU
			}
		}
		return nil
	})
	if mtu != 0 || err != nil {
		return mtu, err
	}
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if n.lab.options.UnderlayFamilies == IPv4 {
		return n.lab.options.UnderlayMTU - overhead4, nil
	}
	return n.lab.options.UnderlayMTU - overhead6, nil
}

// Remove takes the pod's network away, as it was given, and lets its namespaces go.
func (p *Pod) Remove() error {
	n := p.Node
	n.lab.mu.Lock()
	n.pods = slices.DeleteFunc(n.pods, func(other *Pod) bool { return other == p })
	n.lab.mu.Unlock()
	var gone error
	if p.object {
		gone = p.unregister(context.Background())
	}
	if err := errors.Join(p.detach(), gone, p.echo.Close(), p.ns.Close(), n.lab.saveState()); err != nil {
		return fmt.Errorf("removing pod %s/%s: %w", n.Name, p.Name, err)
	}
	return nil
}

func (p *Pod) detach() error {
	if p.sandbox != nil {
		return p.Node.unplug(context.Background(), p.sandbox)
	}
	return p.Node.Do(func() error { return podnet.Detach(p.Namespace, p.Name, uplink) })
}
