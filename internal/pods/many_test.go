package pods

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
)

// atOnce calls f for each sandbox, so many at a time.
func atOnce(limit int, sandboxes []*sandbox, f func(*sandbox) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, limit)
	for _, s := range sandboxes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(s); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: %w", s.id, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// TestAFullNode: 110 pods, 50 at a time, deleted and added again, until the pool is nearly full, and then full.
func TestAFullNode(t *testing.T) {
	const size, batch = 110, 50
	n := newNode(t, cidr4)
	n.start(t, -1, 0)
	n.ready(t)
	var all []*sandbox
	grow := func(count int) []*sandbox {
		var more []*sandbox
		for range count {
			more = append(more, n.sandbox(t, fmt.Sprint("web-", n.sandboxes)))
		}
		if err := atOnce(batch, more, n.add); err != nil {
			t.Fatal(err)
		}
		all = append(all, more...)
		distinct(t, all)
		return more
	}
	first := grow(size)
	if err := atOnce(batch, first, n.del); err != nil {
		t.Fatal(err)
	}
	for _, s := range first {
		s.close()
	}
	all = nil
	grow(size)
	grow(size)
	time.Sleep(2 * 30 * time.Second / faster) // the first ones' cool-down
	grow(253 - 2*size)
	for _, s := range []*sandbox{all[0], all[len(all)/2], all[len(all)-1]} {
		reaches(t, s)
	}
	late := n.sandbox(t, "late")
	defer late.close()
	err := n.add(late)
	var e *types.Error
	if !errors.As(err, &e) || e.Code != cni.ErrNoAddress || !strings.Contains(e.Error(), cidr4+": 253 of 253 leased") {
		t.Errorf("the pod too many: %v", err)
	}
	if err := atOnce(batch, all, n.del); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		s.close()
	}
	n.empty(t)
}
