package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/warren-mesh/warren/e2e/vm/outside"
)

// openStore makes etcd's folder what it was in an earlier state, or a new one, and tells the machine the name of the state that it
// will have after end.
func (s *session) openStore(earlier string, events *json.Encoder) (end func(), err error) {
	live := filepath.Join(s.dir, "etcd")
	if err := os.RemoveAll(live); err != nil {
		return nil, err
	}
	if earlier != "" {
		if !filepath.IsLocal(earlier) {
			return nil, fmt.Errorf("%q is no state of the store", earlier)
		}
		if err := os.CopyFS(live, os.DirFS(s.state(earlier))); err != nil {
			return nil, fmt.Errorf("going back to state %s of the store: %w", earlier, err)
		}
	}
	s.states++
	name := strconv.Itoa(s.states)
	if err := events.Encode(outside.Event{Store: name}); err != nil {
		return nil, err
	}
	return func() {
		// Where this fails there is no such state, and who asks for it is told.
		_ = os.MkdirAll(filepath.Dir(s.state(name)), 0o700)
		_ = os.Rename(live, s.state(name))
	}, nil
}

func (s *session) state(name string) string { return filepath.Join(s.dir, "states", name) }
