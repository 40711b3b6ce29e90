package revoke

import (
	"fmt"
	"slices"
	"time"

	"github.com/warren-mesh/warren/policy"
)

// settlement is one run of Settle.
type settlement struct {
	*Revoker
	state func() (State, error)
	// judge is there once it was needed, or failed why it is not.
	judge  *judge
	failed error
	out    Result
}

// forbids asks for the state the first time. Without one nothing is forbidden, and nothing is allowed.
func (s *settlement) forbids(f policy.Flow) bool {
	if s.judge == nil && s.failed == nil {
		state, err := s.state()
		if err != nil {
			s.failed = fmt.Errorf("judging flows: %w", err)
			return false
		}
		s.judge = judgeOf(state)
	}
	return s.failed == nil && s.judge.forbids(f)
}

// bundle is how many flows are revoked by one transaction: others have their turn between two.
const bundle = 2000

// tighten revokes flows that have become forbidden. All are kept from passing before any is forgotten, which takes longer.
func (s *settlement) tighten(about pending) error {
	if !about.all && len(about.tightened) == 0 {
		return nil
	}
	of := about.tightened
	if about.all {
		of = nil
	}
	start := time.Now()
	forbidden, err := s.flows.List(of, s.forbids)
	s.out.Listing = time.Since(start)
	if err != nil {
		return fmt.Errorf("looking for flows to revoke: %w", err)
	}
	if s.failed != nil {
		return s.failed
	}
	for some := range slices.Chunk(forbidden, bundle) {
		flows := make([]policy.Flow, len(some))
		for i, f := range some {
			flows[i] = f.Flow
		}
		if err := s.rules.Revoke(flows); err != nil {
			return err
		}
	}
	s.out.Revoked = len(forbidden)
	if err := s.flows.Delete(forbidden); err != nil {
		return fmt.Errorf("revoking %d flows: %w", len(forbidden), err)
	}
	return nil
}

// loosen lets revoked flows begin again that have become allowed.
func (s *settlement) loosen(about pending) error {
	revoked := map[policy.Flow]bool{}
	for _, f := range s.rules.Revoked() {
		revoked[f] = true
	}
	var allowed []policy.Flow
	for f := range revoked {
		// Where it is not known who opened one, it is there in both directions.
		if about.touches(f) && !s.forbids(f) && (!revoked[f.Back()] || !s.forbids(f.Back())) {
			allowed = append(allowed, f)
		}
	}
	if s.failed != nil {
		return s.failed
	}
	if len(allowed) == 0 {
		return nil
	}
	if err := s.rules.Restore(allowed); err != nil {
		return err
	}
	s.out.Restored = len(allowed)
	return nil
}

func (p *pending) touches(f policy.Flow) bool {
	_, from := p.loosened[f.From.Addr()]
	_, to := p.loosened[f.To.Addr()]
	return p.all || from || to
}
