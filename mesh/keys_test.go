package mesh_test

import (
	"crypto/sha256"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// epoch is the "now" from which the tests' nodes are so and so old.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// keyOf is a public key that is always the same for one name.
func keyOf(name string) identity.PublicKey { return sha256.Sum256([]byte(name)) }

// withNodeKey is the node as it is where each of the names has the NodeKey of its own key.
func withNodeKey(n mesh.Node, names ...string) mesh.Node {
	for _, name := range names {
		if n.Claim.PublicKey == keyOf(name) {
			n.KeyHolder = name
		}
	}
	return n
}
