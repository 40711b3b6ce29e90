package agent

import (
	"testing"
	"time"
)

// TestDue: what has no event is seen soon in a mesh of any usual size, and costs little in a very large one.
func TestDue(t *testing.T) {
	for peers, want := range map[int][2]time.Duration{
		0: {3 * time.Second, 90 * time.Second}, 2: {3 * time.Second, 90 * time.Second}, 300: {3 * time.Second, 90 * time.Second},
		5000: {50 * time.Second, 150 * time.Second},
	} {
		if got := [2]time.Duration{deviceDue(peers), auditDue(peers)}; got != want {
			t.Errorf("with %d peers the device is read every %s and all every %s, want %s and %s", peers, got[0], got[1], want[0], want[1])
		}
	}
	for elements, want := range map[int]time.Duration{0: 90 * time.Second, 36_000: 90 * time.Second, 144_000: 6 * time.Minute} {
		if got := policyDue(elements); got != want {
			t.Errorf("with %d elements policy's table is read every %s, want %s", elements, got, want)
		}
	}
}
