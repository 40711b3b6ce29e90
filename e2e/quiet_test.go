package e2e

import (
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestQuiet is the control of every scenario that counts packets: where nothing happens, none is lost. It tells how many a second
// this machine sends of the thousand that a stream asks for.
func TestQuiet(t *testing.T) {
	const lasts = 10 * time.Second
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2})
	s.meshed(ctx, t)
	stream := s.stream(ctx, t, "n1", "n2")
	pause(ctx, lasts)
	result := stream.Stop()
	t.Logf("%s: %d a second", result, result.Sent/int(lasts/time.Second))
	if result.Lost != 0 || result.Sent == 0 {
		t.Errorf("%s, want none lost", result)
	}
	s.sealed(ctx, t)
}
