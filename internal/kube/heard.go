package kube

import (
	"sync"
	"time"
)

// heard is what was read of all objects of a kind, and which of them are others since somebody last took the changes.
type heard[T any] struct {
	equal func(a, b T) bool

	mu    sync.Mutex // guards all below
	byKey map[string]T
	// stale says since when what was taken of an object is old.
	stale map[string]time.Time
}

func newHeard[T any](equal func(a, b T) bool) *heard[T] {
	return &heard[T]{equal: equal, byKey: map[string]T{}, stale: map[string]time.Time{}}
}

// set says whether anything that we read is different now.
func (h *heard[T]) set(key string, now T) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before, had := h.byKey[key]; had && h.equal(before, now) {
		return false
	}
	h.byKey[key] = now
	h.outdate(key)
	return true
}

// remove says whether it was there.
func (h *heard[T]) remove(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, had := h.byKey[key]; !had {
		return false
	}
	delete(h.byKey, key)
	h.outdate(key)
	return true
}

// outdate keeps the first time: what came after it waits no longer than that did. mu is held.
func (h *heard[T]) outdate(key string) {
	if _, was := h.stale[key]; !was {
		h.stale[key] = time.Now()
	}
}

// get is an object as it is now.
func (h *heard[T]) get(key string) (T, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one, has := h.byKey[key]
	return one, has
}

// take hands on what has changed, as it is now; there says whether it still is.
func (h *heard[T]) take(hand func(key string, now T, there bool, since time.Time)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, since := range h.stale {
		now, there := h.byKey[key]
		hand(key, now, there, since)
	}
	if len(h.stale) > 0 {
		h.stale = map[string]time.Time{} // cleared, a map keeps the room of the first list
	}
}
