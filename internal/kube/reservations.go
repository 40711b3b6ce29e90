package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/mesh"
)

// reservation is what an IPReservation keeps out, and what of it cannot be read.
type reservation struct {
	cidrs   []netip.Prefix
	problem string
}

// reservationSet is all IPReservations.
type reservationSet struct {
	mu     sync.Mutex // guards byName
	byName map[string]reservation
}

// set says whether it keeps anything else out now. What can be read of it counts.
func (s *reservationSet) set(r *v1alpha1.IPReservation) bool {
	var now reservation
	for _, text := range r.Spec.CIDRs {
		cidr, err := netip.ParsePrefix(text)
		if err != nil || cidr != cidr.Masked() {
			now.problem = fmt.Sprintf("IPReservation %s: spec.cidrs: %.64q is not a network in its canonical form, like 10.64.0.7/32 or fd00:64::/64", r.Name, text)
			continue
		}
		now.cidrs = append(now.cidrs, cidr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.byName[r.Name]; ok && old.problem == now.problem && slices.Equal(old.cidrs, now.cidrs) {
		return false
	}
	if s.byName == nil {
		s.byName = map[string]reservation{}
	}
	s.byName[r.Name] = now
	return true
}

func (s *reservationSet) remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.byName[name]
	delete(s.byName, name)
	return ok
}

// snapshot is all that is kept out, sorted, each once, and what cannot be read.
func (s *reservationSet) snapshot() (cidrs []netip.Prefix, refusals []mesh.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		r := s.byName[name]
		cidrs = append(cidrs, r.cidrs...)
		if r.problem != "" {
			refusals = append(refusals, mesh.Refusal{Reason: mesh.Malformed, Detail: r.problem})
		}
	}
	slices.SortFunc(cidrs, netip.Prefix.Compare)
	return slices.Compact(cidrs), refusals
}
