package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// stolen is n1's claim of another's public key.
func (h *hostile) stolen(node string, key identity.PublicKey) hostileClaim {
	return hostileClaim{
		name: "the public key of " + node, claim: map[string]string{mesh.AnnotationPublicKey: key.String()},
		reason: mesh.KeyTaken, values: []string{key.String()}, leftOut: true,
	}
}

// stolenKey has n1 claim the victim's public key, and all agents start with nothing that they could remember: no device, and no last
// plan. The key stays the victim's.
func (h *hostile) stolenKey(ctx context.Context, t *testing.T) {
	t.Helper()
	key := h.keyOf(ctx, t, "n2")
	stolen := h.stolen("n2", key)
	attempt{agent1, "merge", "nodes/n1", h.annotations(stolen), allowed}.check(ctx, t, h.clients)
	h.judged(ctx, t, stolen)

	for _, name := range refusers {
		if err := h.Node(name).StopAgent(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range refusers {
		n := h.Node(name)
		run(ctx, t, &n.Host, "", "sh", "-ec", "ip link delete warren0; nft delete table inet warren-mesh")
		if err := os.Remove(planFile(n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range refusers {
		h.startAgent(ctx, t, h.Node(name))
	}
	h.judged(ctx, t, stolen)
	if now := publicKey(ctx, t, h.Node("n2")); now != key.String() {
		t.Errorf("the victim's key was %s and is %s", key, now)
	}
	eventually(ctx, t, 10*time.Second, func() error { return pingFrom(ctx, h.pod("n2"), h.pod("n3")) })

	stream := h.stream(ctx, t, "n2", "n3")
	attempt{agent1, "merge", "nodes/n1/status", h.annotations(hostileClaim{}), allowed}.check(ctx, t, h.clients)
	h.believed(ctx, t)
	h.unharmed(ctx, t, stream)
}
