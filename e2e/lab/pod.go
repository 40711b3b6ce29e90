package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/mesh"
)

// Pod is one pod of a node, in namespaces of its own. Where there is a control plane it has a Pod object.
type Pod struct {
	Host
	Node *Node
	// Namespace and ObjectName are what it is called in Kubernetes.
	Namespace, ObjectName string
	// sandbox is what the node's runtime knows of it; nil for a pod that was attached by hand. asks is what it asks the plugins for, by
	// their capabilities.
	sandbox *sandbox
	asks    map[string]any
	// once is that of PodOptions.
	once bool
	// gone is closed when the pod is no longer there, which leave says.
	gone  <-chan struct{}
	leave context.CancelFunc
}

// podNamespace is where pods are of which nothing else is said.
const podNamespace = "default"

// AddPod adds a pod as [Node.AddPodLike] does. Other nodes may have one of that name: the Pod object's is, as that of a static pod, name-node.
func (n *Node) AddPod(ctx context.Context, name string) (*Pod, error) {
	return n.addPod(ctx, name, PodOptions{Name: name + "-" + n.Name}, n.attach)
}

// AddPodLike adds a pod as kubelet does: the Pod object is there first. Then it gets its network by the CNI configuration and plugin that the
// node's agent has installed, which it waits for, and the object gets the pod's addresses. On a node that never had an agent or another's
// configuration the pod is attached by hand. A pod that kubelet knows of, because it was there before a reboot or was removed while the API server was away, is started
// anew with the object that it has.
func (n *Node) AddPodLike(ctx context.Context, o PodOptions) (*Pod, error) {
	return n.addPod(ctx, o.Name, o, n.attach)
}

// AddPodByHand adds a pod that no agent gives a network, with the next free address of each of the node's pod CIDRs. The MTU is the lane's or,
// where there is none yet, what the underlay leaves for it. An agent knows of the pod if it starts after that.
func (n *Node) AddPodByHand(ctx context.Context, name string) (*Pod, error) {
	return n.addPod(ctx, name, PodOptions{Name: name + "-" + n.Name}, n.attachByHand)
}

// attach gives a pod its network.
func (n *Node) attach(ctx context.Context, p *Pod) error {
	n.mu.Lock()
	managed := n.agent != nil
	n.mu.Unlock()
	if _, err := n.conflist(); !managed && errors.Is(err, fs.ErrNotExist) {
		return n.attachByHand(ctx, p)
	}
	return n.plugIn(ctx, p)
}

func (n *Node) attachByHand(_ context.Context, p *Pod) error {
	if len(n.Pods()) > lastPod-firstPod {
		return errors.New("no address is free")
	}
	p.Addresses = n.nextAddresses()
	mtu, err := n.podMTU()
	if err != nil {
		return err
	}
	return n.Do(func() error {
		_, err := podnet.Attach(podnet.Spec{
			NetNS: p.NetNS(), Interface: uplink, Namespace: p.Namespace, Name: p.ObjectName, Addresses: p.Addresses, MTU: mtu,
		})
		return err
	})
}

// addPod makes a pod's object and namespaces, attaches it, and starts what answers in it.
func (n *Node) addPod(ctx context.Context, name string, o PodOptions, attach func(context.Context, *Pod) error) (*Pod, error) {
	if n.Pod(name) != nil {
		return nil, fmt.Errorf("adding pod %s/%s: it is there", n.Name, name)
	}
	setDefault(&o.Namespace, podNamespace)
	life, leave := context.WithCancel(context.WithoutCancel(ctx))
	p := &Pod{
		Node: n, Namespace: o.Namespace, ObjectName: o.Name, asks: o.Asks, once: o.Once, gone: life.Done(), leave: leave,
		Host: Host{Name: name, bin: n.bin, env: n.env, children: n.children},
	}
	if err := p.start(ctx, o, attach); err != nil {
		leave()
		return nil, fmt.Errorf("adding pod %s/%s: %w", n.Name, name, errors.Join(err, p.unregister(context.WithoutCancel(ctx))))
	}
	n.lab.closers.add(p.echo)
	n.lab.mu.Lock()
	n.pods = append(n.pods, p)
	n.lab.mu.Unlock()
	return p, n.lab.saveState()
}

func (p *Pod) start(ctx context.Context, o PodOptions, attach func(context.Context, *Pod) error) (err error) {
	l := p.Node.lab
	if err := p.register(ctx, o); err != nil {
		return err
	}
	if p.ns, err = p.Node.ns.derive(func() error { return preparePod(p.Name, l.dir) }); err != nil {
		return err
	}
	l.closers.add(p.ns)
	if o.Before != nil {
		if err := o.Before(p); err != nil {
			return err
		}
	}
	if err := attach(ctx, p); err != nil {
		return err
	}
	if err := p.report(ctx); err != nil {
		return err
	}
	p.echo, err = p.serveEcho()
	return err
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

// Remove takes the pod's network away, as it was given, lets its namespaces go, and deletes its Pod object. While the API server is away the
// object stays, and kubelet knows of the pod.
func (p *Pod) Remove() error {
	n := p.Node
	n.lab.mu.Lock()
	n.pods = slices.DeleteFunc(n.pods, func(other *Pod) bool { return other == p })
	n.lab.mu.Unlock()
	p.leave()
	err := errors.Join(p.detach(), p.unregister(context.Background()), p.echo.Close(), p.ns.Close(), n.lab.saveState())
	if err != nil {
		return fmt.Errorf("removing pod %s/%s: %w", n.Name, p.Name, err)
	}
	return nil
}

// Reconfigure has the pod's network taken away by the configuration that is the node's now, as containerd does.
func (p *Pod) Reconfigure() error {
	list, err := p.Node.conflist()
	if err != nil {
		return fmt.Errorf("reconfiguring pod %s/%s: %w", p.Node.Name, p.Name, err)
	}
	p.sandbox.list = list
	return nil
}

func (p *Pod) detach() error {
	if p.sandbox != nil {
		return p.Node.unplug(context.Background(), p.sandbox)
	}
	return p.Node.Do(func() error { return podnet.Detach(p.Namespace, p.ObjectName, uplink) })
}
