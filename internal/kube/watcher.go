package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
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
}

// Watcher follows the API server. It is safe for concurrent use.
type Watcher struct {
	nodes    nodeSet
	keys     keySet
	services serviceSet
	watches  []*watch
	failure  *lastFailure
	running  sync.WaitGroup
}

// Watch follows Nodes and NodeKeys, and ServiceCIDRs where the Options say so, until ctx ends. It returns at once and needs no API
// server yet: what cannot be reached is tried again, less and less often, at last every 3 s or so.
//
// changed is called, from several goroutines, after each change of anything that a Snapshot holds, and once when all has
// synced. It must be quick. Heartbeats, and whatever else we do not read, do not call it.
func (c *Client) Watch(ctx context.Context, changed func()) *Watcher {
	w := &Watcher{nodes: nodeSet{ownName: c.node}, failure: &c.readFailure}
	reader := newNodeReader(&w.nodes, c.readNode, changed)
	keys := newWatch("NodeKeys", c.listKeys(), &v1alpha1.NodeKey{}, newMirror(w.keysChanged(changed), w.keys.set, w.keys.remove))
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

// keysChanged makes the next Snapshot look at who holds which key.
func (w *Watcher) keysChanged(changed func()) func() {
	return func() {
		w.nodes.outdated()
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
// ErrNoNodeKeys or ErrNoServiceCIDRs where those are not served (the latter: and asked for).
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
	nodes, own := w.nodes.snapshot(w.keys.of)
	return Snapshot{Nodes: nodes, Own: own, ServiceCIDRs: w.services.snapshot()}
}
