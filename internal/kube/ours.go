package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/warren-mesh/warren/api/v1alpha1"
)

// listOurs lists and watches all objects of one of our own types.
func (c *Client) listOurs(resource string) *steady {
	lists := cache.NewListWatchFromClient(c.ours, resource, metav1.NamespaceAll, fields.Everything())
	return c.steady(lists, v1alpha1.GroupVersion.WithResource(resource))
}

// watchPools follows pools, blocks and reservations. A block is an event for every node, of some hundred bytes, and makes one Node's
// grants anew; a pool makes everybody's, and its status, which changes more often, nobody's.
func (c *Client) watchPools(w *Watcher, changed func()) []*watch {
	watches := []*watch{
		newWatch("IPPools", c.listOurs(v1alpha1.ResourceIPPools), &v1alpha1.IPPool{},
			newMirror(after(w.nodes.outdatedGrants, changed), w.pools.set, w.pools.remove)),
		newWatch("IPBlocks", c.listOurs(v1alpha1.ResourceIPBlocks), &v1alpha1.IPBlock{},
			newMirror(changed, w.blocks.set, w.blocks.remove)),
		newWatch("IPReservations", c.listOurs(v1alpha1.ResourceIPReservations), &v1alpha1.IPReservation{},
			newMirror(changed, w.reservations.set, w.reservations.remove)),
	}
	for _, watch := range watches {
		watch.unserved = ErrNoPools
	}
	return watches
}
