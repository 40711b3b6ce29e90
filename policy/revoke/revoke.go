// Package revoke ends flows that were let through before policy changed and would not be now.
//
// Deleting a flow's entry in conntrack is not enough: the next packet of the other end would be taken for a new flow in the other direction, which
// may be allowed. So the flow's addresses and ports are kept from passing first.
package revoke

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/warren-mesh/warren/policy"
)

// Rules are where flows are kept from passing: policy/nft's Table.
type Rules interface {
	Revoke([]policy.Flow) error
	Restore([]policy.Flow) error
	Revoked() []policy.Flow
}

// Flows are those that the kernel lets through without asking again: policy/conntrack's Tracker.
type Flows interface {
	// List lists those that are wanted among those that have one of the ends, or among all where ends is nil.
	List(ends map[netip.Addr]struct{}, want func(policy.Flow) bool) ([]policy.Tracked, error)
	Delete([]policy.Tracked) error
}

// State is what flows are judged by.
type State struct {
	Rules policy.Ruleset
	// Node are the node's own addresses, of all its interfaces.
	Node []netip.Addr
}

// Result is how many flows changes of policy ended, and how many they let begin again.
type Result struct {
	Revoked, Restored int
	// Listing is how long it took to find them; zero where there was no need to look.
	Listing time.Duration
}

// Revoker is told what changed, at once, and judges flows by it whenever there is time: one look at them is for all that has changed by then. It is
// safe for concurrent use.
type Revoker struct {
	rules Rules
	flows Flows

	settling sync.Mutex // held by Settle

	mu sync.Mutex // guards all below, and is never held for long
	// refusing are the sets whose members some rule refuses or passes on, so that a member more can forbid something.
	refusing map[string]bool
	pending  pending
}

// New makes one.
func New(rules Rules, flows Flows) *Revoker {
	return &Revoker{rules: rules, flows: flows, refusing: map[string]bool{}}
}

// All tells that anything may have changed.
func (v *Revoker) All(rules policy.Ruleset) {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.refusing)
	for _, c := range rules.Chains {
		v.learn(c)
	}
	v.pending = pending{all: true}
}

// After tells of a delta, once it is in the kernel; gone are the addresses of the pods that it removes. It says whether there is something to
// settle.
func (v *Revoker) After(d policy.Delta, gone []netip.Addr) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range d.ChainsAdded {
		v.learn(c)
	}
	for _, s := range d.SetsRemoved {
		delete(v.refusing, s)
	}
	if !v.pending.all {
		v.pending.add(d, gone, v.refusing)
	}
	return !v.pending.empty()
}

// learn remembers which sets a chain refuses by. mu is held.
func (v *Revoker) learn(c policy.Chain) {
	for _, r := range c.Rules {
		if r.Verdict == policy.Accept {
			continue
		}
		for _, set := range []string{r.Peer, r.Target} {
			if set != "" {
				v.refusing[set] = true
			}
		}
	}
}

// Settle judges the flows that the changes are about: those that may have become forbidden, and the revoked ones that may have become allowed.
// The state, of all changes that were told or a later one, is asked for only where there are any. After an error all of it is still to be settled.
func (v *Revoker) Settle(state func() (State, error)) (out Result, err error) {
	v.settling.Lock()
	defer v.settling.Unlock()
	v.mu.Lock()
	about := v.pending
	v.pending = pending{}
	v.mu.Unlock()
	defer func() {
		if err != nil {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.pending.join(about)
		}
	}()
	s := settlement{Revoker: v, state: state}
	err = errors.Join(s.tighten(about), s.loosen(about))
	return s.out, err
}
