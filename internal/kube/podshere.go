package kube

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/warren-mesh/warren/policy"
)

// PodHere is a Pod of the own node that has not ended and has addresses of its own.
type PodHere struct {
	policy.PodKey
	UID       string
	Addresses []netip.Addr
}

// podsHere are those of the own node, by key.
type podsHere struct {
	mu    sync.Mutex // guards all below
	byKey map[string]PodHere
	// version is another whenever they are others.
	version uint64
}

func (h *podsHere) set(o *seenPod) {
	key := keyOf(o)
	if !o.pod.Here || o.ended || o.pod.HostNetwork || len(o.pod.Addresses) == 0 {
		h.remove(key)
		return
	}
	now := PodHere{PodKey: o.pod.PodKey, UID: string(o.UID), Addresses: o.pod.Addresses}
	h.mu.Lock()
	defer h.mu.Unlock()
	if before, had := h.byKey[key]; had && before.UID == now.UID && slices.Equal(before.Addresses, now.Addresses) {
		return
	}
	if h.byKey == nil {
		h.byKey = map[string]PodHere{}
	}
	h.byKey[key] = now
	h.version++
}

func (h *podsHere) remove(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, had := h.byKey[key]; had {
		delete(h.byKey, key)
		h.version++
	}
}

// Here are the Pods of the own node that have addresses of their own. The version is another whenever they are others.
func (p *Policies) Here() (pods []PodHere, version uint64) {
	p.here.mu.Lock()
	defer p.here.mu.Unlock()
	return slices.Collect(maps.Values(p.here.byKey)), p.here.version
}

// HereVersion is that of Here.
func (p *Policies) HereVersion() uint64 {
	p.here.mu.Lock()
	defer p.here.mu.Unlock()
	return p.here.version
}
