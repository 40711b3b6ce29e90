package dump

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestUndisturbed(t *testing.T) {
	for _, tt := range []struct {
		interruptions, calls int
		err                  error
	}{{0, 1, nil}, {2, 3, nil}, {99, attempts, netlink.ErrDumpInterrupted}} {
		calls := 0
		_, err := Undisturbed(func() ([]int, error) {
			if calls++; calls <= tt.interruptions {
				return nil, netlink.ErrDumpInterrupted
			}
			return nil, nil
		})
		if calls != tt.calls || !errors.Is(err, tt.err) {
			t.Errorf("%d interruptions: %d calls, error %v", tt.interruptions, calls, err)
		}
	}
}
