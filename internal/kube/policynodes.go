package kube

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/policy"
)

// labelledNode is what `nodes` peers need of one Node.
type labelledNode struct {
	metav1.TypeMeta
	// ObjectMeta has the name and the resource version, and nothing else.
	metav1.ObjectMeta
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

// seeLabelled takes for mesh addresses those that the Node's pod CIDRs leave it, whatever it claims. With pools they are not known here, and
// are not among its addresses.
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
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, ResourceVersion: n.ResourceVersion},
		node:       policy.Node{Name: n.Name, Labels: keepLabels(n.Labels), Addresses: addrs},
	}
}

func equalNodes(a, b policy.Node) bool {
	return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses) && maps.Equal(a.Labels, b.Labels)
}
