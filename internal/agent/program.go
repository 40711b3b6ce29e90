package agent

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-mesh/warren/mesh/guard"
)

// step brings one part of the kernel's state to what is wanted.
type step struct {
	part string
	do   func() error
	// sent counts what do sends.
	sent *atomic.Int64
	// skip leaves it out.
	skip bool
}

// program takes steps in their order, up to one that fails, and says which parts something was sent for. The guard is in place even where
// others' rules are in its way (guard.ErrOthers): the steps after it follow.
func (a *Agent) program(steps []step) (changed []string, err error) {
	var errs []error
	for _, s := range steps {
		if s.skip {
			continue
		}
		start, sent := time.Now(), s.sent.Load()
		err := s.do()
		a.metrics.observe(s.part, start, err)
		if s.sent.Load() != sent && !slices.Contains(changed, s.part) {
			changed = append(changed, s.part)
		}
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("programming the %s: %w", s.part, err))
		if !errors.Is(err, guard.ErrOthers) {
			break
		}
	}
	return changed, errors.Join(errs...)
}

// problem is what a loop's last run failed with, so that it is told of once.
type problem struct {
	mu   sync.Mutex // guards text
	text string
}

// update takes the end of a run. It began where it failed otherwise than the run before, and ended where that one failed and this did
// not.
func (p *problem) update(err error) (began, ended bool) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.text
	p.text = text
	return text != "" && text != before, text == "" && before != ""
}

// String is the failure, or nothing.
func (p *problem) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text
}
