package guard

import (
	"fmt"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// Present says whether the kernel has a guard, whatever is in it.
func (g *Guard) Present() (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	table, err := g.conn.Read(nft.INet, mesh.GuardTable)
	if err != nil {
		return false, fmt.Errorf("looking for the guard: %w", err)
	}
	return table != nil, nil
}

// ByReason are the counters by the names that they have in nftables.
func (c Counters) ByReason() map[string]Counter {
	return map[string]Counter{clearText: c.Clear, foreign: c.Foreign, podSpoof: c.PodSpoof, spoofed: c.Spoofed, transit: c.Transit}
}
