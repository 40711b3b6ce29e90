package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

var nodesResource = corev1.SchemeGroupVersion.WithResource("nodes")

// pageSize is how many Nodes are read at once: some MiB, and in memory several times that.
const pageSize = 250

// newNodeInformer follows all Nodes as far as they matter to other nodes. It lists them whole, for their pod CIDRs, and watches
// only their metadata: a kubelet that reports its status, every 10 s to 5 min, sends each watcher the images on its node.
// What of it changes lives in annotations; pod CIDRs do not change once they are there, and are read on their own (grants.go).
func (c *Client) newNodeInformer() cache.SharedIndexInformer {
	nodes := c.steady(&nodeSource{client: c, page: pageSize}, nodesResource)
	return cache.NewSharedIndexInformer(nodes, &seenNode{}, 0, nil)
}

// newOwnInformer follows the own Node whole.
func (c *Client) newOwnInformer() cache.SharedIndexInformer {
	node := fields.OneTermEqualSelector(metav1.ObjectNameField, c.node)
	lists := cache.NewListWatchFromClient(c.reads.CoreV1().RESTClient(), nodesResource.Resource, metav1.NamespaceAll, node)
	return cache.NewSharedIndexInformer(c.steady(lists, nodesResource), &corev1.Node{}, 0, nil)
}

// nodeSource lists and watches for the informer.
type nodeSource struct {
	client *Client
	// page is how many Nodes are read at once.
	page int64
}

var (
	_ cache.ListerWatcher            = (*nodeSource)(nil)
	_ cache.ListerWatcherWithContext = (*nodeSource)(nil)
)

// IsWatchListSemanticsUnSupported keeps the informer from listing by a watch, which has no pod CIDRs.
func (*nodeSource) IsWatchListSemanticsUnSupported() bool { return true }

// List implements cache.ListerWatcher.
func (s *nodeSource) List(o metav1.ListOptions) (runtime.Object, error) {
	return s.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher.
func (s *nodeSource) Watch(o metav1.ListOptions) (apiwatch.Interface, error) {
	return s.WatchWithContext(context.Background(), o)
}

// ListWithContext reads all Nodes whole, page by page, so that not all of them are in memory at once. It reads what the API server has
// now, whatever the resource version asked for, and is never older than what is known.
func (s *nodeSource) ListWithContext(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	list := &seenNodeList{}
	for page := (metav1.ListOptions{Limit: s.page}); ; page.Continue = list.Continue {
		nodes, err := s.client.reads.CoreV1().Nodes().List(ctx, page)
		if err != nil {
			return nil, err
		}
		for i := range nodes.Items {
			list.Items = append(list.Items, seenWhole(&nodes.Items[i]))
		}
		list.ResourceVersion, list.Continue = nodes.ResourceVersion, nodes.Continue
		if list.Continue == "" {
			return list, nil
		}
	}
}

// WatchWithContext watches the Nodes' metadata.
func (s *nodeSource) WatchWithContext(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	events, err := s.client.metadata.Resource(nodesResource).Watch(ctx, o)
	if err != nil {
		return nil, err
	}
	return apiwatch.Filter(events, func(e apiwatch.Event) (apiwatch.Event, bool) {
		if partial, ok := e.Object.(*metav1.PartialObjectMetadata); ok { // else it is an error
			e.Object = seenPartial(e.Type, partial)
		}
		return e, true
	}), nil
}

func seenPartial(kind apiwatch.EventType, partial *metav1.PartialObjectMetadata) *seenNode {
	if kind == apiwatch.Bookmark { // of no Node
		return &seenNode{ObjectMeta: metav1.ObjectMeta{ResourceVersion: partial.ResourceVersion, Annotations: partial.Annotations}}
	}
	return seenMetadata(&partial.ObjectMeta)
}

// readNode reads a Node whole. It is at least as new as anything that is known of it.
func (c *Client) readNode(ctx context.Context, name string) (*seenNode, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	node, err := c.reads.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the pod CIDRs of Node %s: %w", name, err)
	}
	return seenWhole(node), nil
}
