package kube

import (
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/policy"
)

// labelledNodes are what `nodes` peers select from: all Nodes, with the addresses that their pod CIDRs and, with pools, their blocks leave them.
type labelledNodes struct {
	*heard[policy.Node]
	pools  poolSet
	blocks blockSet

	mu     sync.Mutex // guards byName, and that what was heard of a Node is as its blocks are
	byName map[string]*labelledNode
}

func newLabelledNodes() *labelledNodes {
	n := &labelledNodes{heard: newHeard(equalNodes), byName: map[string]*labelledNode{}}
	n.blocks.touched = n.touched
	return n
}

// watches are those that begin with the first policy that has `nodes` peers.
func (n *labelledNodes) watches(c *Client, changed func()) []*watch {
	watches := []*watch{newWatch("Nodes by their labels", c.listLabelled(), &labelledNode{}, newMirror(changed, n.set, n.remove))}
	if !c.pools {
		return watches
	}
	return append(watches,
		newWatch("IPPools", c.listOurs(v1alpha1.ResourceIPPools), &v1alpha1.IPPool{}, newMirror(after(n.regranted, changed), n.pools.set, n.pools.remove)),
		newWatch("IPBlocks", c.listOurs(v1alpha1.ResourceIPBlocks), &v1alpha1.IPBlock{}, newMirror(changed, n.blocks.set, n.blocks.remove)))
}

func (n *labelledNodes) set(o *labelledNode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.byName[o.Name] = o
	return n.renew(o)
}

func (n *labelledNodes) remove(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byName, name)
	return n.heard.remove(name)
}

// touched is told that a Node's blocks changed.
func (n *labelledNodes) touched(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.byName[name]; o != nil {
		n.renew(o)
	}
}

// regranted is told that other pools count.
func (n *labelledNodes) regranted() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.byName {
		n.renew(o)
	}
}

// renew says whether a Node is another by what it says and has. mu is held.
func (n *labelledNodes) renew(o *labelledNode) bool {
	node := o.node
	node.Addresses = slices.Clip(node.Addresses)
	held, _ := ipam.Believe(ipam.Holder{Name: o.Name, UID: string(o.UID), Labels: o.node.Labels}, n.blocks.of(o.Name), n.pools.snapshot().byName)
	for _, block := range ipam.MeshBlocks(held) {
		node.Addresses = append(node.Addresses, block.CIDR.Addr().Next())
	}
	return n.heard.set(o.Name, node)
}

// labelledNode is what `nodes` peers need of one Node.
type labelledNode struct {
	metav1.TypeMeta
	// ObjectMeta has the name, the UID and the resource version, and nothing else.
	metav1.ObjectMeta
	// node is without what its blocks leave it.
	node policy.Node
}

// DeepCopyObject implements runtime.Object. What a labelledNode refers to is never changed.
func (n *labelledNode) DeepCopyObject() runtime.Object {
	again := *n
	return &again
}

// listLabelled lists and watches all Nodes, heartbeats and all: only where a policy has `nodes` peers is that worth what it costs.
func (c *Client) listLabelled() *steady {
	lists := cache.NewListWatchFromClient(c.reads.CoreV1().RESTClient(), nodesResource.Resource, metav1.NamespaceAll, fields.Everything())
	return c.steady(strain(lists, func(o runtime.Object) runtime.Object { return seeLabelled(o) }), nodesResource)
}

// seeLabelled takes for mesh addresses those that the Node's pod CIDRs leave it, whatever it claims.
func seeLabelled(o runtime.Object) *labelledNode {
	n, ok := o.(*corev1.Node)
	if !ok {
		return &labelledNode{}
	}
	addrs, _ := readAddresses(n.Status.Addresses) // the agent on the node tells of its problems
	for _, cidr := range mesh.ParseNode(mesh.Fields{Name: n.Name, PodCIDRs: n.Spec.PodCIDRs}).Grants {
		addrs = append(addrs, cidr.Addr().Next())
	}
	return &labelledNode{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion},
		node:       policy.Node{Name: n.Name, Labels: keepLabels(n.Labels), Addresses: addrs},
	}
}

func equalNodes(a, b policy.Node) bool {
	return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses) && maps.Equal(a.Labels, b.Labels)
}
