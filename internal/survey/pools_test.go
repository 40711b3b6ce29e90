package survey

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/ipam"
)

func TestPools(t *testing.T) {
	block := func(cidr, pool, node string) ipam.Block {
		return ipam.Block{CIDR: netip.MustParsePrefix(cidr), Pool: pool, Node: node}
	}
	first := block("10.64.0.16/28", "main", "n1")
	first.MeshAddress = true
	going := block("fd00:64::10/124", "six", "n2")
	going.Freed = time.Unix(1, 0)
	c := Cluster{
		Pools: []ipam.Pool{
			{Name: "main", CIDR: netip.MustParsePrefix("10.64.0.0/24"), BlockSize: 28},
			{Name: "six", CIDR: netip.MustParsePrefix("fd00:64::/112"), BlockSize: 124, Disabled: true},
		},
		Blocks: []ipam.Block{block("10.64.0.32/28", "main", "n2"), first, going, block("10.99.0.0/28", "gone", "n1")},
		Pods:   []Pod{pod("a", "n1", "10.64.0.18", "fd00:64::12"), pod("b", "n1", "10.64.0.19"), pod("c", "n1", "10.65.0.19")},
	}
	text := ""
	for _, p := range c.InPools() {
		text += p.String()
	}
	const want = `pool main: 10.64.0.0/24 in blocks of /28: 2 of 16 claimed, by 2 nodes
  10.64.0.16/28: node n1, 2 pods, the mesh address
  10.64.0.32/28: node n2, 0 pods
pool six: fd00:64::/112 in blocks of /124: 1 of 4096 claimed, by 1 nodes, disabled
  fd00:64::10/124: node n2, 1 pods, being deleted
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
