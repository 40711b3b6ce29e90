package agent

import (
	"testing"
	"time"
)

// TestDeviceDue: what has no event is seen soon in a mesh of any usual size, and costs little in a very large one.
func TestDeviceDue(t *testing.T) {
	for peers, want := range map[int]time.Duration{0: 3 * time.Second, 2: 3 * time.Second, 500: 3 * time.Second, 5000: 25 * time.Second} {
		if got := deviceDue(peers); got != want {
			t.Errorf("with %d peers the device is read every %s, want %s", peers, got, want)
		}
	}
}
