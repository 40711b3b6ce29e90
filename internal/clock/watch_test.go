package clock

import (
	"context"
	"testing"
	"time"
)

// TestWatchEnds: with its context, and nothing was told of a clock that nobody set. That a clock which is set is told of is shown where
// a clock can be set: in a virtual machine (e2e/vm).
func TestWatchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	told, err := Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-told:
		t.Fatal("it told of something, or ended by itself")
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	select {
	case _, open := <-told:
		if open {
			t.Error("it told of something")
		}
	case <-time.After(10 * time.Second):
		t.Error("it did not end")
	}
}
