package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/warren-mesh/warren/policy"
)

// PolicyKind is a kind of what policy reads.
type PolicyKind string

// The kinds.
const (
	PodKind           PolicyKind = "Pod"
	NamespaceKind     PolicyKind = "Namespace"
	NodeKind          PolicyKind = "Node"
	NetworkPolicyKind PolicyKind = "NetworkPolicy"
	ClusterPolicyKind PolicyKind = "ClusterNetworkPolicy"
)

// PolicyChange is one object as it is now. Of the pointers the one of its kind is set, unless the object is gone, or cannot be read.
type PolicyChange struct {
	Kind            PolicyKind
	Namespace, Name string
	// Since is when the first was heard that this change tells of.
	Since time.Time

	Pod           *policy.Pod
	NamespaceIs   *policy.Namespace
	Node          *policy.Node
	Policy        *networkingv1.NetworkPolicy
	ClusterPolicy *v1alpha2.ClusterNetworkPolicy
	// Unreadable is why a policy cannot be read. What was known of it holds.
	Unreadable string
}

// Policies follow what policy is made of. They are safe for concurrent use.
type Policies struct {
	pods          *heard[policy.Pod]
	namespaces    *heard[policy.Namespace]
	nodes         *labelledNodes
	policies      *heard[*networkingv1.NetworkPolicy]
	clusterPolicy *heard[clusterPolicy]
	here          podsHere

	watches []*watch
	// optional is that of ClusterNetworkPolicies, whose kind need not be served, and labelled are those of what is known of Nodes, which begin
	// with the first policy that names any.
	optional      *watch
	labelled      []*watch
	needNodes     chan struct{}
	needNodesOnce sync.Once
	failure       *lastFailure
	running       sync.WaitGroup
}

// errNoClusterPolicies never leaves this package: a cluster without them has none.
var errNoClusterPolicies = errors.New("the API server has no ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2)")

func newPolicies() *Policies {
	return &Policies{
		pods: newHeard(equalPods), namespaces: newHeard(equalNamespaces), nodes: newLabelledNodes(),
		policies: newHeard(equalNetworkPolicies), clusterPolicy: newHeard(equalClusterPolicies), needNodes: make(chan struct{}),
	}
}

// WatchPolicies follows Pods, Namespaces, NetworkPolicies, ClusterNetworkPolicies and, where one of those names any, Nodes, until ctx ends, as
// Watch follows what the mesh is made of. changed is called after each change that Changes will hand on, and once when all has synced. It must be
// quick.
func (c *Client) WatchPolicies(ctx context.Context, changed func()) *Policies {
	p := newPolicies()
	p.failure = &c.readFailure
	p.watches = []*watch{
		newWatch("Pods", c.listPods(), &seenPod{}, newMirror(changed, p.setPod, p.removePod)),
		newWatch("Namespaces", c.listNamespaces(), &metav1.PartialObjectMetadata{}, newMirror(changed, p.setNamespace, p.namespaces.remove)),
		newWatch("NetworkPolicies", c.listNetworkPolicies(), &networkingv1.NetworkPolicy{}, newMirror(changed, p.setPolicy, p.policies.remove)),
	}
	p.optional = newWatch("ClusterNetworkPolicies", c.listClusterPolicies(), &unstructured.Unstructured{},
		newMirror(changed, p.setClusterPolicy, p.clusterPolicy.remove))
	p.optional.unserved = errNoClusterPolicies
	p.labelled = p.nodes.watches(c, changed)
	for _, watch := range append(p.watches, p.optional) {
		p.running.Go(func() { watch.run(ctx) })
	}
	for _, watch := range p.labelled {
		p.running.Go(func() {
			select {
			case <-p.needNodes:
				watch.run(ctx)
			case <-ctx.Done():
			}
		})
	}
	p.running.Go(func() {
		if p.WaitForSync(ctx) == nil {
			changed() // an empty cluster syncs without any other change
		}
	})
	return p
}

// Wait waits until nothing is followed any more, after ctx has ended.
func (p *Policies) Wait() { p.running.Wait() }

// Synced says whether everything has been read once: before that, what is not known may exist.
func (p *Policies) Synced() bool {
	for _, watch := range p.watches {
		if !watch.hasSynced() {
			return false
		}
	}
	return p.optional.settled() && (!p.wantsNodes() || !slices.ContainsFunc(p.labelled, func(w *watch) bool { return !w.hasSynced() }))
}

// WaitForSync returns when Synced is true. It fails when ctx ends, with what is in the way.
func (p *Policies) WaitForSync(ctx context.Context) error {
	for _, watch := range append(p.watches[:len(p.watches):len(p.watches)], p.optional) {
		if err := watch.wait(ctx); err != nil && (watch != p.optional || !watch.settled()) {
			return fmt.Errorf("reading %s: %w", watch.what, errors.Join(err, p.failure.get()))
		}
	}
	if !p.wantsNodes() {
		return nil
	}
	for _, watch := range p.labelled {
		if err := watch.wait(ctx); err != nil {
			return fmt.Errorf("reading %s: %w", watch.what, errors.Join(err, p.failure.get()))
		}
	}
	return nil
}

func (p *Policies) wantsNodes() bool {
	select {
	case <-p.needNodes:
		return true
	default:
		return false
	}
}

// Changes are the objects that are not as they were when it was last asked, each once: all, the first time. Kinds that others name come
// before those that name them.
func (p *Policies) Changes() []PolicyChange {
	var changes []PolicyChange
	// add keeps a change, which the caller completes where the object is there.
	add := func(kind PolicyKind, key string, since time.Time) *PolicyChange {
		namespace, name, found := strings.Cut(key, "/")
		if !found {
			namespace, name = "", key
		}
		changes = append(changes, PolicyChange{Kind: kind, Namespace: namespace, Name: name, Since: since})
		return &changes[len(changes)-1]
	}
	take(p.namespaces, NamespaceKind, add, func(c *PolicyChange, n policy.Namespace) { c.NamespaceIs = &n })
	take(p.nodes.heard, NodeKind, add, func(c *PolicyChange, n policy.Node) { c.Node = &n })
	take(p.pods, PodKind, add, func(c *PolicyChange, pod policy.Pod) { c.Pod = &pod })
	take(p.policies, NetworkPolicyKind, add, func(c *PolicyChange, o *networkingv1.NetworkPolicy) { c.Policy = o })
	take(p.clusterPolicy, ClusterPolicyKind, add, func(c *PolicyChange, o clusterPolicy) {
		c.ClusterPolicy, c.Unreadable = o.read, o.problem
	})
	return changes
}

func take[T any](h *heard[T], kind PolicyKind, add func(PolicyKind, string, time.Time) *PolicyChange, complete func(*PolicyChange, T)) {
	h.take(func(key string, now T, there bool, since time.Time) {
		if change := add(kind, key, since); there {
			complete(change, now)
		}
	})
}

// Ref names a policy for [Recorder.Policy]; without a UID where it is not there.
func (p *Policies) Ref(kind PolicyKind, namespace, name string) PolicyRef {
	ref := PolicyRef{Kind: kind, Namespace: namespace, Name: name}
	if kind == NetworkPolicyKind {
		if o, there := p.policies.get(namespace + "/" + name); there {
			ref.UID = string(o.UID)
		}
	} else if o, there := p.clusterPolicy.get(name); there && o.read != nil {
		ref.UID = string(o.read.UID)
	}
	return ref
}

func (p *Policies) setPod(o *seenPod) bool {
	p.here.set(o)
	if !o.ended {
		return p.pods.set(keyOf(o), o.pod)
	}
	return p.pods.remove(keyOf(o))
}

func (p *Policies) removePod(key string) bool {
	p.here.remove(key)
	return p.pods.remove(key)
}

func (p *Policies) setNamespace(o *metav1.PartialObjectMetadata) bool {
	return p.namespaces.set(keyOf(o), seeNamespace(o))
}

func (p *Policies) setPolicy(o *networkingv1.NetworkPolicy) bool {
	return p.policies.set(keyOf(o), seeNetworkPolicy(o))
}

func (p *Policies) setClusterPolicy(o *unstructured.Unstructured) bool {
	seen := seeClusterPolicy(o)
	if seen.namesNodes() {
		p.needNodesOnce.Do(func() { close(p.needNodes) })
	}
	return p.clusterPolicy.set(keyOf(o), seen)
}
