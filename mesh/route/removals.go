package route

import (
	"net/netip"
	"sync"
)

// removals are routes that are being removed by ourselves, and of which the kernel will tell as if somebody else had: who waits for
// that would read all routes for each one that we removed. A nil one has none.
type removals struct {
	mu sync.Mutex // guards all below
	// pending is how often each destination is still to be told of; nil while nobody listens.
	pending map[netip.Prefix]int
}

// listen begins anew: what was told before, or lost, is no longer waited for.
func (r *removals) listen() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = map[netip.Prefix]int{}
}

// begin is called before a removal is sent.
func (r *removals) begin(p netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending != nil {
		r.pending[p]++
	}
}

// cancel is called after one that the kernel refused.
func (r *removals) cancel(p netip.Prefix) { r.told(p) }

// told says whether a removal that the kernel tells of was our own.
func (r *removals) told(p netip.Prefix) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.pending[p]
	if n == 1 {
		delete(r.pending, p)
	} else if n > 1 {
		r.pending[p] = n - 1
	}
	return n > 0
}
