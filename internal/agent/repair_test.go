package agent

import (
	"net/netip"
	"slices"
	"testing"
)

// TestFollower has peers called for addresses that went, and for those that come in their place whenever that is.
func TestFollower(t *testing.T) {
	addrs := func(texts ...string) (out []netip.Addr) {
		for _, text := range texts {
			out = append(out, netip.MustParseAddr(text))
		}
		return out
	}
	f := follower{now: addrs("10.0.0.1")}
	for _, step := range []struct {
		name      string
		now, gone []netip.Addr
		roamed    bool
	}{
		{"nothing", addrs("10.0.0.1"), nil, false},
		{"one comes", addrs("10.0.0.1", "10.99.0.1"), nil, false},
		{"it goes", addrs("10.0.0.1"), addrs("10.99.0.1"), true},
		{"it comes again", addrs("10.0.0.1", "10.99.0.1"), nil, false},
		{"one in another's place", addrs("10.0.0.2", "10.99.0.1"), addrs("10.0.0.1"), true},
		{"one more", addrs("10.0.0.2", "10.0.0.9", "10.99.0.1"), nil, false},
		{"two go", addrs("10.99.0.1"), addrs("10.0.0.2", "10.0.0.9"), true},
		{"much later one comes", addrs("10.0.0.3", "10.99.0.1"), nil, true},
		{"and another", addrs("10.0.0.3", "10.0.0.4", "10.99.0.1"), nil, false},
	} {
		if gone, roamed := f.follow(step.now); !slices.Equal(gone, step.gone) || roamed != step.roamed {
			t.Errorf("%s: %v went, calling %v; want %v, %v", step.name, gone, roamed, step.gone, step.roamed)
		}
	}
}
