// Package revoke ends flows that were let through before policy changed and would not be now.
//
// Deleting a flow's entry in conntrack is not enough: the next packet of the other end would be taken for a new flow in the other direction, which
// may be allowed. So the flow's addresses and ports are kept from passing first.
package revoke

import (
	"errors"
	"fmt"
	"net/netip"

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
	List(want func(policy.Flow) bool) ([]policy.Flow, error)
	Delete([]policy.Flow) (int, error)
}

// State is what flows are judged by.
type State struct {
	Rules policy.Ruleset
	// Node are the node's own addresses, of all its interfaces.
	Node []netip.Addr
}

// Result is how many flows a change of policy ended, and how many it let begin again.
type Result struct{ Revoked, Restored int }

// Revoker is not safe for concurrent use.
type Revoker struct {
	rules Rules
	flows Flows
	// refusing are the sets whose members some rule refuses or passes on, so that a member more can forbid something.
	refusing map[string]bool
}

// New makes one.
func New(rules Rules, flows Flows) *Revoker {
	return &Revoker{rules: rules, flows: flows, refusing: map[string]bool{}}
}

// All judges every flow. It is for when it is not known what changed.
func (v *Revoker) All(s State) (Result, error) {
	clear(v.refusing)
	for _, c := range s.Rules.Chains {
		v.learn(c)
	}
	everything := func(policy.Flow) bool { return true }
	return v.judge(everything, everything, func() State { return s })
}

// After judges the flows that a delta is about, once it is in the kernel. The state is asked for only where there are any.
func (v *Revoker) After(d policy.Delta, state func() State) (Result, error) {
	for _, c := range d.ChainsAdded {
		v.learn(c)
	}
	for _, s := range d.SetsRemoved {
		delete(v.refusing, s)
	}
	tightened, all := touched{}, touched{}
	for _, b := range d.PodsSet {
		tightened.add(b.Addresses...)
	}
	for _, members := range d.MembersRemoved {
		tightened.members(members)
	}
	for set, members := range d.MembersAdded {
		all.members(members)
		if v.refusing[set] {
			tightened.members(members)
		}
	}
	for a := range tightened {
		all.add(a)
	}
	if len(all) == 0 {
		return Result{}, nil
	}
	if len(tightened) == 0 {
		return v.judge(nil, all.has, state)
	}
	return v.judge(tightened.has, all.has, state)
}

// learn remembers which sets a chain refuses by.
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

// judge looks at flows of which some may have become forbidden (nil for none), and at revoked ones of which some may have become allowed.
func (v *Revoker) judge(tightened, loosened func(policy.Flow) bool, state func() State) (Result, error) {
	candidates, err := v.candidates(tightened)
	if err != nil {
		return Result{}, err
	}
	var revoked []policy.Flow
	for _, f := range v.rules.Revoked() {
		if loosened(f) {
			revoked = append(revoked, f)
		}
	}
	if len(candidates)+len(revoked) == 0 {
		return Result{}, nil
	}
	j := judgeOf(state())
	var out Result
	var errs []error
	if forbidden := keep(candidates, j.forbids); len(forbidden) > 0 {
		out.Revoked, err = v.revoke(forbidden)
		errs = append(errs, err)
	}
	if allowed := keep(revoked, func(f policy.Flow) bool { return !j.forbids(f) }); len(allowed) > 0 {
		if err := v.rules.Restore(allowed); err != nil {
			errs = append(errs, err)
		} else {
			out.Restored = len(allowed)
		}
	}
	return out, errors.Join(errs...)
}

func (v *Revoker) candidates(tightened func(policy.Flow) bool) ([]policy.Flow, error) {
	if tightened == nil {
		return nil, nil
	}
	flows, err := v.flows.List(tightened)
	if err != nil {
		return nil, fmt.Errorf("looking for flows to revoke: %w", err)
	}
	return flows, nil
}

// revoke keeps flows from passing before it has them forgotten.
func (v *Revoker) revoke(flows []policy.Flow) (int, error) {
	if err := v.rules.Revoke(flows); err != nil {
		return 0, err
	}
	if _, err := v.flows.Delete(flows); err != nil {
		return 0, fmt.Errorf("revoking %d flows: %w", len(flows), err)
	}
	return len(flows), nil
}

func keep(flows []policy.Flow, those func(policy.Flow) bool) (out []policy.Flow) {
	for _, f := range flows {
		if those(f) {
			out = append(out, f)
		}
	}
	return out
}
