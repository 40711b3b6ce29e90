package mesh_test

import (
	"crypto/sha256"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
)

// epoch is the "now" from which the tests' nodes are so and so old.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// keyOf is a public key that is always the same for one name.
func keyOf(name string) identity.PublicKey { return sha256.Sum256([]byte(name)) }
