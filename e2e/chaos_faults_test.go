package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/mesh"
)

// start starts an agent as its DaemonSet would: again, until it is there.
func start(ctx context.Context, n *lab.Node) error {
	return patiently(ctx, func() error { return n.StartAgent(ctx) })
}

func agentStopped(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	if err := n.StopAgent(ctx); err != nil {
		return err
	}
	pause(ctx, s.lasts)
	return start(ctx, n)
}

func agentRestarted(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	return errors.Join(n.StopAgent(ctx), start(ctx, n))
}

func agentKilled(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	return errors.Join(n.KillAgent(), start(ctx, n))
}

// agentReplaced is an upgrade, and its rollback.
func agentReplaced(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	n.UseAgent(c.other)
	replaced := func() error { return runs(n, otherVersion) } // once it has said so
	err := errors.Join(n.StopAgent(ctx), start(ctx, n), patiently(ctx, replaced))
	pause(ctx, s.lasts)
	n.UseAgent("")
	return errors.Join(err, n.StopAgent(ctx), start(ctx, n))
}

func audited(ctx context.Context, c *chaos, s shot) error { return audit(ctx, c.Node(s.node)) }

func tunnelKilled(_ context.Context, c *chaos, s shot) error {
	found, err := processesOf(c.Node(s.node))
	if err != nil {
		return err
	}
	for _, p := range found {
		if p.role == roleTunnel {
			return unix.Kill(p.pid, unix.SIGKILL)
		}
	}
	return errors.New("there is no tunnel process")
}

func cutOff(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	if err := c.Cut(n); err != nil {
		return err
	}
	pause(ctx, s.lasts)
	return c.Heal(n)
}

func cutApart(ctx context.Context, c *chaos, s shot) error {
	n, other := c.Node(s.node), c.Node(s.other)
	if err := c.CutBetween(n, other); err != nil {
		return err
	}
	pause(ctx, s.lasts)
	return c.HealBetween(n, other)
}

// readdressed is DHCP and then kubelet, twice.
func readdressed(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	before := n.Addresses[0]
	raw := before.As4()
	raw[3] += 100
	for i, addr := range []netip.Addr{netip.AddrFrom4(raw), before} {
		if i > 0 {
			pause(ctx, s.lasts)
		}
		if err := errors.Join(c.SetUnderlayAddress(n, addr), c.SetNodeAddresses(ctx, n, addr)); err != nil {
			return err
		}
	}
	return nil
}

func apiStopped(ctx context.Context, c *chaos, s shot) error {
	c.stale.Store(true)
	if err := c.Cluster().StopAPIServer(); err != nil {
		return err
	}
	pause(ctx, s.lasts)
	return c.Cluster().StartAPIServer(ctx)
}

func resynced(ctx context.Context, c *chaos, _ shot) error {
	c.stale.Store(true)
	return resync(ctx, c.scene)
}

// etcdRestored takes a snapshot, lets every Node change, and goes back to it: what the agents know is newer than what the API server says.
func etcdRestored(ctx context.Context, c *chaos, _ shot) error {
	if err := c.Cluster().Snapshot(ctx); err != nil {
		return err
	}
	return errors.Join(resync(ctx, c.scene), c.Cluster().Restore(ctx))
}

// diskFull restarts the agent too, except where it is to live on: it is at its start that it needs the folder.
func diskFull(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	return errors.Join(n.FillState(), c.restartOn(ctx, n, s.lasts), n.DrainState())
}

func diskReadOnly(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	return errors.Join(n.ProtectState(true), c.restartOn(ctx, n, s.lasts), n.ProtectState(false))
}

func (c *chaos) restartOn(ctx context.Context, n *lab.Node, lasts time.Duration) error {
	if !contains(notItsAgent, n.Name) {
		pause(ctx, lasts)
		return nil
	}
	return errors.Join(n.StopAgent(ctx), start(ctx, n), func() error { pause(ctx, lasts); return nil }())
}

// nodeRebooted ends when the node's agent has been started and its pods have been added, which a CNI plugin does as soon as the agent
// has put the guard up.
func nodeRebooted(ctx context.Context, c *chaos, s shot) error {
	n := c.Node(s.node)
	if err := c.Reboot(n); err != nil {
		return err
	}
	return c.populate(ctx, n)
}

// populate starts the agent of a node that has just come up, and adds its pods.
func (c *chaos) populate(ctx context.Context, n *lab.Node) error {
	if err := errors.Join(c.capture.Control(ctx, n), start(ctx, n)); err != nil {
		return err
	}
	guarded := func() error {
		_, err := n.Run(ctx, "nft", "list", "chain", "inet", "warren-mesh", "egress")
		return err
	}
	if err := patiently(ctx, guarded); err != nil {
		return err
	}
	for _, name := range podNames {
		if _, err := n.AddPod(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func annotationsRemoved(ctx context.Context, c *chaos, s shot) error {
	return c.patchNode(ctx, s.node, fmt.Sprintf(`{%q: null, %q: null, %q: null}`,
		mesh.AnnotationPublicKey, mesh.AnnotationEndpoints, mesh.AnnotationPodCIDRs))
}

func endpointsFalsified(ctx context.Context, c *chaos, s shot) error {
	return c.patchNode(ctx, s.node, fmt.Sprintf(`{%q: "203.0.113.9:51820"}`, mesh.AnnotationEndpoints))
}

// patchNode changes annotations of a Node so that everybody is told, as its agent could.
func (c *chaos) patchNode(ctx context.Context, node, annotations string) error {
	patch := fmt.Sprintf(`{"metadata": {"annotations": %s, "labels": {%q: ""}}}`, annotations, mesh.LabelChanged)
	nodes := c.Cluster().Admin().CoreV1().Nodes()
	_, err := nodes.Patch(ctx, node, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (c *chaos) nodeKeys() (dynamic.ResourceInterface, error) {
	client, err := dynamic.NewForConfig(c.Cluster().AdminConfig())
	if err != nil {
		return nil, err
	}
	return client.Resource(schema.GroupVersionResource{Group: "warren.dev", Version: "v1alpha1", Resource: "nodekeys"}), nil
}

func nodeKeyDeleted(ctx context.Context, c *chaos, s shot) error {
	keys, err := c.nodeKeys()
	if err != nil {
		return err
	}
	key, err := identity.ParsePublicKey(c.keys[s.node])
	if err != nil {
		return err
	}
	return keys.Delete(ctx, v1alpha1.NodeKeyName(key), metav1.DeleteOptions{})
}

// joinsAndLeaves is over when the node has gone, and good only if its pods were in the mesh meanwhile.
func joinsAndLeaves(ctx context.Context, c *chaos, _ shot) error {
	if c.stale.Swap(false) { // Who gives out the pod CIDRs is no part of the mesh.
		if err := c.Cluster().RestartControllerManager(ctx); err != nil {
			return err
		}
	}
	err := c.join(ctx)
	for _, n := range c.Nodes()[len(anyNode):] {
		err = errors.Join(err, c.DeleteNode(ctx, n.Name))
	}
	return err
}

func (c *chaos) join(ctx context.Context) error {
	n, err := c.AddNode(ctx)
	if err != nil {
		return err
	}
	if err := c.populate(ctx, n); err != nil {
		return err
	}
	if err := c.waitConnected(ctx); err != nil {
		return fmt.Errorf("with %s: %w", n.Name, err)
	}
	return nil
}

// claims is what all Nodes and NodeKeys say, as text.
func (c *chaos) claims(ctx context.Context) (string, error) {
	nodes, err := c.Cluster().Admin().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, n := range nodes.Items {
		if !contains(anyNode, n.Name) {
			continue
		}
		for _, name := range []string{mesh.AnnotationPublicKey, mesh.AnnotationEndpoints, mesh.AnnotationPodCIDRs} {
			fmt.Fprintf(&b, "%s %s=%s\n", n.Name, name, n.Annotations[name])
		}
	}
	client, err := c.nodeKeys()
	if err != nil {
		return "", err
	}
	keys, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, k := range keys.Items {
		for _, owner := range k.GetOwnerReferences() {
			if contains(anyNode, owner.Name) { // of those that left, the garbage collector has its own time
				fmt.Fprintf(&b, "NodeKey %s of %s\n", k.GetName(), owner.Name)
			}
		}
	}
	return b.String(), nil
}
