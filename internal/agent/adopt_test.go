package agent

import (
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// TestAdopt: whatever plans follow each other, the keys in use are those of the last one.
func TestAdopt(t *testing.T) {
	peer := rapid.Custom(func(t *rapid.T) *mesh.Peer {
		node := rapid.IntRange(0, 9).Draw(t, "node")
		return &mesh.Peer{
			Node: "n" + strconv.Itoa(node), PublicKey: identity.PublicKey{0: byte(node), 1: rapid.Byte().Draw(t, "key")},
			ClockSteps: uint32(rapid.IntRange(0, 1).Draw(t, "steps")),
		}
	})
	peers := rapid.SliceOfNDistinct(peer, 0, 10, func(p *mesh.Peer) string { return p.Node })
	rapid.Check(t, func(t *rapid.T) {
		a := &Agent{}
		for range rapid.IntRange(1, 5).Draw(t, "plans") {
			now := peers.Draw(t, "peers")
			slices.SortFunc(now, func(a, b *mesh.Peer) int { return int(a.PublicKey[0]) - int(b.PublicKey[0]) })
			a.adopt(mesh.Plan{Lanes: []mesh.Lane{{Peers: now}}})
			want := map[string]identity.PublicKey{}
			for _, p := range now {
				want[p.Node] = p.PublicKey
			}
			if diff := cmp.Diff(want, a.adopted); diff != "" {
				t.Fatalf("keys in use (-want +got):\n%s", diff)
			}
		}
	})
}
