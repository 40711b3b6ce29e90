package v1alpha1

import "testing"

func TestNodeKeyName(t *testing.T) {
	// The SHA-256 of 32 zero bytes, as sha256sum prints it.
	const want = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
	if got := NodeKeyName([32]byte{}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
