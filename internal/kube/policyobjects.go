package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/policy"
)

var (
	namespacesResource      = corev1.SchemeGroupVersion.WithResource("namespaces")
	networkPoliciesResource = networkingv1.SchemeGroupVersion.WithResource("networkpolicies")
	clusterPoliciesResource = schema.GroupVersion(v1alpha2.GroupVersion).WithResource("clusternetworkpolicies")
)

// listNamespaces lists and watches the metadata of all Namespaces.
func (c *Client) listNamespaces() *steady {
	from := c.metadata.Resource(namespacesResource)
	return c.steady(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return from.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			return from.Watch(ctx, o)
		},
	}, namespacesResource)
}

func seeNamespace(o *metav1.PartialObjectMetadata) policy.Namespace {
	return policy.Namespace{Name: o.Name, Labels: intern(o.Labels)}
}

func equalNamespaces(a, b policy.Namespace) bool {
	return a.Name == b.Name && maps.Equal(a.Labels, b.Labels)
}

// listNetworkPolicies lists and watches all NetworkPolicies.
func (c *Client) listNetworkPolicies() *steady {
	lists := cache.NewListWatchFromClient(c.reads.NetworkingV1().RESTClient(), networkPoliciesResource.Resource, metav1.NamespaceAll, fields.Everything())
	return c.steady(lists, networkPoliciesResource)
}

// keepMeta is what we read of a policy's metadata.
func keepMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, UID: m.UID}
	for name, value := range m.Annotations {
		if strings.HasPrefix(name, mesh.AnnotationPrefix) && len(value) <= maxKeptBytes {
			if kept.Annotations == nil {
				kept.Annotations = map[string]string{}
			}
			kept.Annotations[name] = value
		}
	}
	return kept
}

func equalMeta(a, b *metav1.ObjectMeta) bool {
	return a.UID == b.UID && maps.Equal(a.Annotations, b.Annotations)
}

func seeNetworkPolicy(p *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: keepMeta(&p.ObjectMeta), Spec: p.Spec}
}

func equalNetworkPolicies(a, b *networkingv1.NetworkPolicy) bool {
	return equalMeta(&a.ObjectMeta, &b.ObjectMeta) && apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}

// unservedRetry is how often about it is looked whether the cluster has ClusterNetworkPolicies by now.
const unservedRetry = 20 * time.Second

// listClusterPolicies lists and watches all ClusterNetworkPolicies, as what they are on the wire: of a list in which one cannot be read as what
// we know by that name, the others can.
func (c *Client) listClusterPolicies() *steady {
	from := c.objects.Resource(clusterPoliciesResource)
	lists := c.steady(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return from.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			return from.Watch(ctx, o)
		},
	}, clusterPoliciesResource)
	lists.again = unservedRetry
	return lists
}

// clusterPolicy is one that can be read, or why it cannot.
type clusterPolicy struct {
	read    *v1alpha2.ClusterNetworkPolicy
	problem string
}

func seeClusterPolicy(o *unstructured.Unstructured) clusterPolicy {
	var p v1alpha2.ClusterNetworkPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
		return clusterPolicy{problem: fmt.Sprintf("it cannot be read as a %s ClusterNetworkPolicy: %v", v1alpha2.GroupVersion.Version, err)}
	}
	return clusterPolicy{read: &v1alpha2.ClusterNetworkPolicy{ObjectMeta: keepMeta(&p.ObjectMeta), Spec: p.Spec}}
}

func equalClusterPolicies(a, b clusterPolicy) bool {
	if a.problem != b.problem || (a.read == nil) != (b.read == nil) {
		return false
	}
	return a.read == nil || equalMeta(&a.read.ObjectMeta, &b.read.ObjectMeta) && apiequality.Semantic.DeepEqual(a.read.Spec, b.read.Spec)
}

// namesNodes says whether a policy has `nodes` peers.
func (p clusterPolicy) namesNodes() bool {
	return p.read != nil && slices.ContainsFunc(p.read.Spec.Egress, func(r v1alpha2.ClusterNetworkPolicyEgressRule) bool {
		return slices.ContainsFunc(r.To, func(peer v1alpha2.ClusterNetworkPolicyEgressPeer) bool { return peer.Nodes != nil })
	})
}
