package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/mesh"
)

// Snapshot is what the API server says, as far as we read it. The caller may keep it, and must not change what its
// slices and maps hold.
type Snapshot struct {
	// Nodes are all Nodes, the own among them, ordered by name. One that is the same as in the Snapshot before is the same pointer.
	Nodes []*mesh.Node
	Own   Own
	// ServiceCIDRs are the cluster's, sorted; empty unless Options.WatchServiceCIDRs.
	ServiceCIDRs []netip.Prefix

	// Pools are those that count, by name, Blocks all that are claimed, by CIDR, and Reservations what is kept out, sorted. All are empty unless
	// Options.WatchPools.
	Pools        []ipam.Pool
	Blocks       []ipam.Block
	Reservations []netip.Prefix
	// Refusals are of the other pools and reservations. They name no node.
	Refusals []mesh.Refusal
}

// Watcher follows the API server. It is safe for concurrent use.
type Watcher struct {
	nodes        nodeSet
	keys         keySet
	services     serviceSet
	pools        poolSet
	blocks       blockSet
	reservations reservationSet
	watches      []*watch
	failure      *lastFailure
	running      sync.WaitGroup
}

func newWatcher(node string, pools bool) *Watcher {
	w := &Watcher{nodes: nodeSet{ownName: node, sight: sight{pools: pools}}}
	w.blocks.touched = w.nodes.touched
	return w
}

// Watch follows Nodes and NodeKeys, and ServiceCIDRs and pools where the Options say so, until ctx ends. It returns at once and needs no API
// server yet: what cannot be reached is tried again, less and less often, at last every 3 s or so.
//
// changed is called, from several goroutines, after each change of anything that a Snapshot holds, and once when all has
// synced. It must be quick. Heartbeats, and whatever else we do not read, do not call it.
func (c *Client) Watch(ctx context.Context, changed func()) *Watcher {
	w := newWatcher(c.node, c.pools)
	w.failure = &c.readFailure
	reader := newNodeReader(&w.nodes, c.readNode, changed)
	keys := newWatch("NodeKeys", c.listOurs(v1alpha1.ResourceNodeKeys), &v1alpha1.NodeKey{}, newMirror(after(w.nodes.outdatedKeys, changed), w.keys.set, w.keys.remove))
	keys.unserved = ErrNoNodeKeys
	w.watches = append(w.watches,
		newWatch("the own Node", c.listOwn(), &corev1.Node{}, newMirror(changed, w.nodes.setOwn, w.nodes.removeOwn)),
		newWatch("Nodes", c.listNodes(&w.nodes), &seenNode{}, newMirror(changed, reader.set, reader.remove)),
		keys)
	if c.serviceCIDRs {
		cidrs := newWatch("ServiceCIDRs", c.listServices(), &networkingv1.ServiceCIDR{}, newMirror(changed, w.services.set, w.services.remove))
		cidrs.unserved = ErrNoServiceCIDRs
		w.watches = append(w.watches, cidrs)
	}
	if c.pools {
		w.watches = append(w.watches, c.watchPools(w, changed)...)
	}
	w.running.Go(func() { reader.run(ctx) })
	for _, watch := range w.watches {
		w.running.Go(func() { watch.run(ctx) })
	}
	w.running.Go(func() {
		for _, watch := range w.watches {
			select {
			case <-watch.synced:
			case <-ctx.Done():
				return
			}
		}
		changed() // an empty cluster syncs without any other change
	})
	return w
}

// Wait waits until nothing is followed any more, after ctx has ended.
func (w *Watcher) Wait() { w.running.Wait() }

// after is a function that does first what has to be done before somebody is told of a change.
func after(first, changed func()) func() {
	return func() {
		first()
		changed()
	}
}

// Synced says whether everything has been read once: before that, what a Snapshot lacks may exist.
func (w *Watcher) Synced() bool {
	for _, watch := range w.watches {
		if !watch.hasSynced() {
			return false
		}
	}
	return true
}

// WaitForSync returns when Synced is true. It fails when ctx ends, with what is in the way, and at once with
// ErrNoNodeKeys, ErrNoServiceCIDRs or ErrNoPools where those are not served (the latter two: and asked for), and soon with ErrDenied
// where RBAC keeps our own types from being read.
func (w *Watcher) WaitForSync(ctx context.Context) error {
	for _, watch := range w.watches {
		if err := watch.wait(ctx); err != nil {
			return fmt.Errorf("reading %s: %w", watch.what, errors.Join(err, w.failure.get()))
		}
	}
	return nil
}

// KeyHolder is the name of the Node that has the key's NodeKey, as far as is known now; empty where none has.
func (w *Watcher) KeyHolder(key identity.PublicKey) string { return w.keys.of(key) }

// Snapshot is what is known now. It is cheap.
func (w *Watcher) Snapshot() Snapshot {
	nodes, own := w.nodes.snapshot(settler{holder: w.keys.of, grants: w.addBlocks})
	pools := w.pools.snapshot()
	reserved, refusals := w.reservations.snapshot()
	return Snapshot{
		Nodes: nodes, Own: own, ServiceCIDRs: w.services.snapshot(),
		Pools: pools.sorted, Blocks: w.blocks.snapshot(), Reservations: reserved, Refusals: slices.Concat(pools.refusals, refusals),
	}
}

// addBlocks adds to a Node's grants the blocks that count, and to its doubts the others.
func (w *Watcher) addBlocks(n *mesh.Node, labels labels.Set) {
	if !w.nodes.sight.pools {
		return
	}
	grantBlocks(n, labels, w.blocks.of(n.Name), w.pools.snapshot().byName)
}

// grantBlocks adds to a Node's grants those of the blocks which name it that count, and what it is doubted for.
func grantBlocks(n *mesh.Node, labels labels.Set, blocks []ipam.Block, pools map[string]ipam.Pool) {
	held, doubts := ipam.Believe(ipam.Holder{Name: n.Name, UID: n.UID, Labels: labels}, blocks, pools)
	n.Grants = slices.Clip(n.Grants)
	for _, b := range held {
		n.Grants = append(n.Grants, b.CIDR)
	}
	for _, d := range doubts {
		n.Doubts = append(n.Doubts, mesh.Doubt(d))
	}
}

// Miscounted are the statuses that pools should have, by name, where they have others and those have stood for a while: everybody hears
// of each that is written, so that in a cluster that starts not every claim should be counted at once.
func (w *Watcher) Miscounted(quiet time.Duration) map[string]v1alpha1.IPPoolStatus {
	return w.pools.miscounted(w.blocks.snapshot(), quiet)
}
