package survey

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/ipam"
)

// Pool is how a pool is claimed and used.
type Pool struct {
	Name string       `json:"name"`
	CIDR netip.Prefix `json:"cidr"`
	// BlockSize is the prefix length of its blocks, of which Claimed are held by Nodes, out of Capacity.
	BlockSize int     `json:"blockSize"`
	Claimed   int64   `json:"claimed"`
	Capacity  int64   `json:"capacity"`
	Nodes     int64   `json:"nodes"`
	Disabled  bool    `json:"disabled,omitempty"`
	Blocks    []Block `json:"blocks"`
}

// Block is a claimed block.
type Block struct {
	CIDR netip.Prefix `json:"cidr"`
	Node string       `json:"node"`
	// MeshAddress says that the node's own address is of it, and Freed that it is being deleted.
	MeshAddress bool `json:"meshAddress,omitempty"`
	Freed       bool `json:"freed,omitempty"`
	// Pods is how many pods have addresses of it.
	Pods int `json:"pods"`
}

// InPools is how the cluster's pools are claimed, by name, and each one's blocks by address.
func (c Cluster) InPools() []Pool {
	counts, used := ipam.Counts(c.Pools, c.Blocks), c.used()
	pools := make([]Pool, 0, len(c.Pools))
	for _, p := range c.Pools {
		count := counts[p.Name]
		pool := Pool{
			Name: p.Name, CIDR: p.CIDR, BlockSize: p.BlockSize, Claimed: count.Blocks, Capacity: count.Capacity, Nodes: count.Nodes, Disabled: p.Disabled,
			Blocks: []Block{},
		}
		for _, b := range c.Blocks {
			if b.Pool == p.Name {
				pool.Blocks = append(pool.Blocks, Block{b.CIDR, b.Node, b.MeshAddress, !b.Freed.IsZero(), used[b.CIDR]})
			}
		}
		slices.SortFunc(pool.Blocks, func(a, b Block) int { return a.CIDR.Compare(b.CIDR) })
		pools = append(pools, pool)
	}
	return pools
}

// used is how many addresses of each block pods have. Blocks are apart from each other.
func (c Cluster) used() map[netip.Prefix]int {
	used := make(map[netip.Prefix]int, len(c.Blocks))
	sizes := map[int]bool{}
	for _, b := range c.Blocks {
		used[b.CIDR], sizes[b.CIDR.Bits()] = 0, true
	}
	for _, pod := range c.Pods {
		for _, a := range pod.Addresses {
			for size := range sizes {
				if p, err := a.Prefix(size); err == nil {
					if _, ok := used[p]; ok {
						used[p]++
					}
				}
			}
		}
	}
	return used
}

// String is for people.
func (p Pool) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pool %s: %s in blocks of /%d: %d of %d claimed, by %d nodes", p.Name, p.CIDR, p.BlockSize, p.Claimed, p.Capacity, p.Nodes)
	if p.Disabled {
		b.WriteString(", disabled")
	}
	b.WriteByte('\n')
	for _, block := range p.Blocks {
		fmt.Fprintf(&b, "  %s: node %s, %d pods", block.CIDR, block.Node, block.Pods)
		if block.MeshAddress {
			b.WriteString(", the mesh address")
		}
		if block.Freed {
			b.WriteString(", being deleted")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
