package kube

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

var nodesResource = corev1.SchemeGroupVersion.WithResource("nodes")

// pageSize is how many Nodes are read at once: some MiB, and in memory several times that.
const pageSize = 250

// listNodes lists and watches all Nodes as far as they matter to other nodes. It lists them whole, and watches neither them nor their
// metadata: a kubelet that reports its status, every 10 s to 5 min, sends each watcher the images on its node, or who set which field of
// it. Rows say which Nodes there are, and are enough to read one whole that is not known (reader.go); claims come with the label that
// says that they changed. What a Node's heartbeats cost is its row.
func (c *Client) listNodes(nodes *nodeSet) *steady {
	return c.steady(c.newNodeSource(nodes), nodesResource)
}

// listOwn lists and watches the own Node whole.
func (c *Client) listOwn() *steady {
	node := fields.OneTermEqualSelector(metav1.ObjectNameField, c.node)
	lists := cache.NewListWatchFromClient(c.reads.CoreV1().RESTClient(), nodesResource.Resource, metav1.NamespaceAll, node)
	return c.steady(lists, nodesResource)
}

// nodeSource lists and watches for the reflector: one list or one watch at a time.
type nodeSource struct {
	// nodes say which rows are of interest, and bare are those that waited for something in the last list: nodes may not have it yet.
	nodes *nodeSet
	bare  map[string]struct{}
	// listed is when that was.
	listed time.Time
	list   func(ctx context.Context, o metav1.ListOptions) (*corev1.NodeList, error)
	// page is how many Nodes are read at once.
	page int64

	watchRows   func(ctx context.Context, o metav1.ListOptions) (io.ReadCloser, error)
	watchClaims func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error)
	// rowsAt and claimsAt are the resource versions up to which each was handed on. The last watch changes them until it has ended.
	rowsAt, claimsAt string
	ended            chan struct{}
}

func (c *Client) newNodeSource(nodes *nodeSet) *nodeSource {
	return &nodeSource{
		nodes: nodes, list: c.reads.CoreV1().Nodes().List, page: pageSize, watchRows: c.watchRows, watchClaims: c.watchClaims,
	}
}

var (
	_ cache.ListerWatcher            = (*nodeSource)(nil)
	_ cache.ListerWatcherWithContext = (*nodeSource)(nil)
)

// IsWatchListSemanticsUnSupported keeps the reflector from listing by a watch.
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
// now, whatever the resource version asked for.
func (s *nodeSource) ListWithContext(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	list, bare := &seenList{}, map[string]struct{}{}
	for page := (metav1.ListOptions{Limit: s.page}); ; page.Continue = list.Continue {
		nodes, err := s.list(ctx, page)
		if err != nil {
			return nil, err
		}
		for i := range nodes.Items {
			seen := s.nodes.sight.whole(&nodes.Items[i])
			list.Items = append(list.Items, seen)
			if seen.held().waits() {
				bare[seen.Name] = struct{}{}
			}
		}
		list.ResourceVersion, list.Continue = nodes.ResourceVersion, nodes.Continue
		if list.Continue == "" {
			s.begin(list.ResourceVersion)
			s.bare, s.listed = bare, time.Now()
			return list, nil
		}
	}
}

// begin has both watches go on from a list. One that is older than what was told is of a store that was restored.
func (s *nodeSource) begin(version string) {
	s.settle()
	if later(version, later(s.rowsAt, s.claimsAt)) != version {
		s.nodes.restored()
	}
	s.rowsAt, s.claimsAt = version, version
}

// listEvery is after how long the Nodes are listed anew: a change of somebody else than its agent, who did not set the label, is seen
// then. A watch lasts for 5 to 10 minutes and is not ended for it, so that not all agents of a cluster list at once.
const listEvery = time.Hour

// WatchWithContext watches rows and claims, each from where it was, which is not always the resource version asked for.
func (s *nodeSource) WatchWithContext(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	s.settle()
	if time.Since(s.listed) > listEvery {
		return nil, apierrors.NewResourceExpired("the last list is old: listing anew")
	}
	o.ResourceVersion = s.rowsAt
	body, err := s.watchRows(ctx, o)
	if err != nil {
		return nil, err
	}
	o.ResourceVersion = s.claimsAt
	claims, err := s.watchClaims(ctx, o)
	if err != nil {
		_ = body.Close()
		return nil, err
	}
	return s.merge(newRowWatch(body, s.tells), claims), nil
}

// settle waits for the last watch, which was stopped.
func (s *nodeSource) settle() {
	if s.ended != nil {
		<-s.ended
	}
}

// readNode reads a Node whole. It is at least as new as anything that is known of it.
func (c *Client) readNode(ctx context.Context, name string) (*seenNode, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	node, err := c.reads.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Node %s: %w", name, err)
	}
	return sight{pools: c.pools}.whole(node), nil
}
