package ipam

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// describe is work as text, one line for each thing to do.
func (w Work) describe() []string {
	var lines []string
	for _, part := range []struct {
		what   string
		blocks []Block
	}{{"renew", w.Renew}, {"retake", w.Retake}, {"claim", w.Claim}, {"return", w.Return}, {"let go", w.LetGo}} {
		for _, b := range part.blocks {
			line := fmt.Sprintf("%s %s of %s", part.what, b.CIDR, b.Pool)
			if b.MeshAddress {
				line += ", mesh"
			}
			lines = append(lines, line)
		}
	}
	for _, p := range w.Problems {
		lines = append(lines, p.Error())
	}
	return lines
}

func TestWork(t *testing.T) {
	const first, second, third = "10.64.0.0/28", "10.64.0.16/28", "10.64.0.32/28"
	own := func(change ...func([]Block)) []Block {
		blocks := held("n1", first, second)
		for _, c := range change {
			c(blocks)
		}
		blocks[0].MeshAddress = true
		return blocks
	}
	freed := func(at time.Time) func([]Block) { return func(b []Block) { b[1].Freed = at } }
	before := func(b []Block) { b[1].NodeUID = "uid-before" }
	long := start.Add(-BlockRest)
	for name, c := range map[string]struct {
		blocks []Block
		leased []string
		mesh   string
		// leases are how many addresses are leased of each block.
		leases map[string]int
		empty  map[string]time.Time
		change func(*Ledger)
		want   []string
	}{
		"nothing yet":  {change: func(l *Ledger) { l.Blocks = held("n2", first, second, third) }, want: []string{"claim 10.64.0.48/28 of small, mesh"}},
		"enough":       {blocks: own(), leases: map[string]int{first: 8}},
		"few are left": {blocks: own()[:1], leases: map[string]int{first: 10}, want: []string{"claim 10.64.0.16/28 of small"}},
		"few, of a full pool": {
			blocks: append(own()[:1], held("n2", second, third, "10.64.0.48/28")...), leases: map[string]int{first: 12},
		},
		"of the Node before":         {blocks: own(before), want: []string{"renew " + second + " of small"}},
		"freed with the Node before": {blocks: own(before, freed(start)), want: []string{"retake " + second + " of small"}},
		"freed by somebody, in use":  {blocks: own(freed(start)), leased: []string{"10.64.0.20"}, want: []string{"retake " + second + " of small"}},
		"being returned":             {blocks: own(freed(start)), want: []string{"let go " + second + " of small"}},
		"freed, of a pool that is disabled": {
			blocks: own(before, freed(start)), change: func(l *Ledger) { l.Pools[0].Disabled = true },
			want: []string{"block " + second + " was freed, though not by this node, and cannot be taken back: pool small is disabled"},
		},
		"another's, freed":          {blocks: append(own()[:1], Block{CIDR: netip.MustParsePrefix(second), Pool: "small", Node: "n2", Freed: start.Add(-time.Minute)})},
		"another's, freed long ago": {blocks: append(own()[:1], Block{CIDR: netip.MustParsePrefix(second), Pool: "small", Node: "n2", Freed: long}), want: []string{"let go " + second + " of small"}},
		"in use, and nobody's":      {blocks: own()[:1], leased: []string{"10.64.0.20", "10.64.0.21"}, want: []string{"claim " + second + " of small"}},
		"in use, and another's": {
			blocks: append(own()[:1], held("n2", second)...), leased: []string{"10.64.0.20"},
			want: []string{"10.64.0.20 is in use here, and its block " + second + " is held by node n2 by now"},
		},
		"empty for a while":      {blocks: own(), leases: map[string]int{first: 3}, empty: map[string]time.Time{second: start.Add(-time.Minute)}},
		"empty for long":         {blocks: own(), leases: map[string]int{first: 3}, empty: map[string]time.Time{second: long}, want: []string{"return " + second + " of small"}},
		"empty, but soon of use": {blocks: own(), leases: map[string]int{first: 6}, empty: map[string]time.Time{second: long}},
		"the mesh address's is never empty": {
			blocks: own(), leases: map[string]int{second: 3}, empty: map[string]time.Time{first: long},
		},
		"two of them": {
			blocks: append(own(), held("n1", third)...), empty: map[string]time.Time{second: long, third: long.Add(-time.Hour)}, want: []string{"return " + third + " of small"},
		},
		"the last of a pool that no pod needs": {
			blocks: append(own()[:1], Block{CIDR: netip.MustParsePrefix("10.65.0.0/28"), Pool: "blue", Node: "n1", NodeUID: "uid-n1", Created: start}),
			empty:  map[string]time.Time{"10.65.0.0/28": long},
			change: func(l *Ledger) {
				l.Pools = append(l.Pools, Pool{Name: "blue", CIDR: netip.MustParsePrefix("10.65.0.0/24"), BlockSize: 28, Nodes: l.Pools[0].Nodes, Pods: true})
			},
			want: []string{"return 10.65.0.0/28 of blue"},
		},
		"the mesh's, in nobody's block": {
			mesh: "10.64.0.33", want: []string{"claim " + third + " of small, mesh"},
		},
		"no pool": {
			change: func(l *Ledger) { l.Pools[0].MeshAddresses = false },
			want:   []string{"no IPv4 pool is for mesh addresses: want an IPPool that allows MeshAddresses"},
		},
		"a full pool": {
			blocks: held("n2", first, second, third, "10.64.0.48/28"),
			want:   []string{"claiming a block for the IPv4 mesh address: pool small has no block left: 4 of 4 claimed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := ledger(t, "n1", pool(t, "small", "10.64.0.0/26", 28, "-"))
			l.Cluster, l.Blocks = prefixes("10.64.0.0/10"), c.blocks
			if c.change != nil {
				c.change(&l)
			}
			tenancy := Tenancy{Uses: map[netip.Prefix]Use{}, Empty: map[netip.Prefix]time.Time{}}
			for _, b := range l.Own() {
				tenancy.Uses[b.CIDR] = Use{Prefix: b.CIDR, Size: 13, Leased: c.leases[b.CIDR.String()]}
			}
			for block, since := range c.empty {
				tenancy.Empty[netip.MustParsePrefix(block)] = since
			}
			for _, a := range c.leased {
				tenancy.Leased = append(tenancy.Leased, netip.MustParseAddr(a))
			}
			if c.mesh != "" {
				tenancy.Mesh = []netip.Addr{netip.MustParseAddr(c.mesh)}
			}
			if diff := cmp.Diff(c.want, l.Work(tenancy).describe()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMeshBlocks(t *testing.T) {
	l := ledger(t, "n1", pool(t, "small", "10.64.0.0/26", 28, "-"), pool(t, "six", "fd00:64::/120", 124, "-"))
	l.Blocks = append(held("n1", "10.64.0.0/28", "10.64.0.16/28", "10.64.0.32/28"), held("n2", "10.64.0.48/28")...)
	l.Blocks = append(l.Blocks, Block{CIDR: netip.MustParsePrefix("fd00:64::10/124"), Pool: "six", Node: "n1", Created: start, MeshAddress: true})
	l.Blocks[1].MeshAddress, l.Blocks[1].Created = true, start.Add(time.Second)
	l.Blocks[2].MeshAddress = true
	l.Blocks[3].MeshAddress = true
	got := Work{Claim: l.MeshBlocks()}.describe()
	want := []string{"claim 10.64.0.32/28 of small, mesh", "claim fd00:64::10/124 of six, mesh"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
