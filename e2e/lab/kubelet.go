package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/warren-mesh/warren/e2e/lab/cluster"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

func (l *Lab) startControlPlane(ctx context.Context) error {
	l.say("control plane: starting")
	dir := filepath.Join(l.dir, "cluster")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making the control plane's folder: %w", err)
	}
	root := l.Switch()
	control, err := cluster.Start(ctx, cluster.Options{
		Assets: l.options.Assets, Dir: dir, Addresses: root.Addresses,
		PodCIDRs: l.options.PodCIDRs, ServiceCIDRs: l.options.ServiceCIDRs, NodeMask4: l.options.NodeMask4, Scheduler: l.options.Scheduler,
		Audit: l.options.Audit,
		Start: root.start, HTTPDial: root.Dial,
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.cluster = control
	l.mu.Unlock()
	if err := control.ApplyFiles(ctx, l.options.Manifests...); err != nil {
		return err
	}
	l.say("control plane: ready, manifests applied")
	return l.saveState()
}

// register makes the node's Node object and waits for its pod CIDRs; without a control plane it gives them out.
func (l *Lab) register(ctx context.Context, n *Node) error {
	if l.Cluster() == nil {
		n.setPodCIDRs(l.carve(n.index))
		return nil
	}
	if l.options.Scheduler != "" {
		return nil
	}
	if err := l.CreateNodeObject(ctx, n); err != nil {
		return err
	}
	return l.WaitPodCIDRs(ctx, n)
}

// carve takes the node's part of each pod CIDR: a /24, a /64.
func (l *Lab) carve(index int) []netip.Prefix {
	var parts []netip.Prefix
	for _, p := range l.options.PodCIDRs {
		bits := 64
		if p.Addr().Is4() {
			bits = 24
		}
		raw := p.Addr().AsSlice()
		raw[bits/8-1] += byte(index) //nolint:gosec // bounded
		addr, _ := netip.AddrFromSlice(raw)
		parts = append(parts, netip.PrefixFrom(addr, bits))
	}
	return parts
}

// kubelet is a client with the credential of the node's kubelet.
func (l *Lab) kubelet(n *Node) (kubernetes.Interface, error) {
	file, err := l.Cluster().NodeKubeconfig(n.Name)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's credential: %w", err)
	}
	config.Dial = l.Switch().Dial
	return kubernetes.NewForConfig(config)
}

// CreateNodeObject makes the Node as its kubelet would: labels, addresses, ready but for the network.
func (l *Lab) CreateNodeObject(ctx context.Context, n *Node) error {
	client, err := l.kubelet(n)
	if err != nil {
		return err
	}
	now := metav1.Now()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{
			corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux",
		}},
		Status: corev1.NodeStatus{
			Addresses: nodeAddresses(n.Name, n.Addresses),
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now},
				{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue, Reason: "NoRouteCreated", LastHeartbeatTime: now, LastTransitionTime: now},
			},
		},
	}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the Node: %w", err)
	}
	return nil
}

func nodeAddresses(name string, addrs []netip.Addr) []corev1.NodeAddress {
	all := []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}}
	for _, a := range addrs {
		all = append(all, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
	}
	return all
}

// SetNodeAddresses puts addresses into the Node's status, as its kubelet does when it has seen that they changed.
func (l *Lab) SetNodeAddresses(ctx context.Context, n *Node, addrs ...netip.Addr) error {
	client, err := l.kubelet(n)
	if err != nil {
		return err
	}
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading Node %s: %w", n.Name, err)
		}
		node.Status.Addresses = nodeAddresses(n.Name, addrs)
		_, err = client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
		switch {
		case err == nil:
			return nil
		case !apierrors.IsConflict(err):
			return fmt.Errorf("setting the addresses of Node %s: %w", n.Name, err)
		}
	}
}

// registerPatience is how long a node may take to register and to be given its pod CIDRs: a kubelet has to start first.
const registerPatience = 90 * time.Second

// WaitPodCIDRs returns when there is a Node object with pod CIDRs, and takes note of them.
func (l *Lab) WaitPodCIDRs(ctx context.Context, n *Node) error {
	client := l.Cluster().Admin()
	var prefixes []netip.Prefix
	err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, pace.Scale(registerPatience), true, func(ctx context.Context) (bool, error) {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		prefixes = nil
		for _, s := range node.Spec.PodCIDRs {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return false, err
			}
			prefixes = append(prefixes, p)
		}
		return len(prefixes) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the pod CIDRs of Node %s: %w", n.Name, err)
	}
	n.setPodCIDRs(prefixes)
	return nil
}

// DeleteNode takes a node away: its Node object first, as an administrator does, then its agent, pods and cable.
func (l *Lab) DeleteNode(ctx context.Context, name string) error {
	n := l.Node(name)
	if n == nil {
		return fmt.Errorf("deleting node %s: there is none", name)
	}
	if l.Cluster() != nil {
		if err := l.DeleteNodeObject(ctx, name); err != nil {
			return err
		}
	}
	if err := l.removeNode(n); err != nil {
		return err
	}
	return n.collectPods(ctx)
}

// DeleteNodeObject deletes the Node only; the node itself runs on.
func (l *Lab) DeleteNodeObject(ctx context.Context, name string) error {
	if err := l.Cluster().Admin().CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting Node %s: %w", name, err)
	}
	return nil
}

// removeNode halts the node and takes it off the list.
func (l *Lab) removeNode(n *Node) error {
	errs := []error{n.halt()}
	l.mu.Lock()
	for i, other := range l.nodes {
		if other == n {
			l.nodes = append(l.nodes[:i:i], l.nodes[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	errs = append(errs, os.RemoveAll(n.dir), l.saveState())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("deleting node %s: %w", n.Name, err)
	}
	return nil
}
