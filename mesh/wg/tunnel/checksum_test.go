package tunnel

import (
	"testing"

	"pgregory.net/rapid"
)

// TestChecksum compares with a sum word by word.
func TestChecksum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0xfe, 0xff, 0xff, 0xff}), 0, 300).Draw(t, "part")
		if got, want := checksum(0, part), wordSum(part); got != want {
			t.Errorf("%#x, want %#x", got, want)
		}
	})
}
