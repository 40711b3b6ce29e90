package policytest

import (
	"flag"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	lasting = flag.Duration("policy.for", 0, "draw for this long")
	seed    = flag.Uint64("policy.seed", 0, "what is drawn first (0 for anything); -rapid.seed is the same")
)

// first is the seed that everything of this process is drawn from.
var first = sync.OnceValues(func() (uint64, error) {
	if *seed != 0 {
		return *seed, nil
	}
	s, err := strconv.ParseUint(flag.Lookup("rapid.seed").Value.String(), 10, 64)
	if s == 0 {
		s = uint64(time.Now().UnixNano()) & (1<<32 - 1)
	}
	return s, err
})

// Check holds a property against what is drawn: as often as -rapid.checks says, and again until -policy.for is over. It says from which seed. It
// ends the test where the property does not hold, with the least that it found to break it and the seed of that.
func Check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	seed, err := first()
	if err != nil {
		t.Fatal(err)
	}
	start, held := time.Now(), 0
	defer func() {
		t.Logf("held %d times in %v, from -policy.seed=%d", held, time.Since(start).Round(time.Millisecond), seed)
	}()
	for round := uint64(0); round == 0 || time.Since(start) < *lasting; round++ {
		if err := flag.Set("rapid.seed", strconv.FormatUint(seed+round<<32, 10)); err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			property(t)
			held++
		})
	}
}
