package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func ledger(tb testing.TB, node string, pools ...Pool) Ledger {
	tb.Helper()
	return Ledger{Node: node, UID: "uid-" + node, Cluster: prefixes("10.64.0.0/10", "fd00::/16"), Pools: pools, Now: start, Idle: 10 * time.Minute}
}

func TestNextBlock(t *testing.T) {
	small := pool(t, "small", "10.64.0.0/26", 28, "-")
	for name, c := range map[string]struct {
		pool   Pool
		change func(*Ledger)
		fixed  string
		want   string
	}{
		"one is left": {small, func(l *Ledger) { l.Blocks = held("n2", "10.64.0.0/28", "10.64.0.16/28", "10.64.0.48/28") }, "", "10.64.0.32/28"},
		"all are claimed": {small, func(l *Ledger) {
			l.Blocks = held("n2", "10.64.0.0/28", "10.64.0.16/28", "10.64.0.32/28", "10.64.0.48/28")
		}, "", "pool small has no block left: 4 of 4 claimed"},
		"freed, gone and reserved": {small, func(l *Ledger) {
			l.Blocks = append(held("n2", "10.64.0.0/28"), Block{CIDR: netip.MustParsePrefix("10.64.0.16/28"), Freed: start})
			l.Gone = map[netip.Prefix]time.Time{netip.MustParsePrefix("10.64.0.32/28"): start}
			l.Reserved = prefixes("10.64.0.48/28")
		}, "", "pool small has no block left: 1 of 4 claimed, 2 freed less than 10m0s ago, 1 reserved"},
		"reserved by pieces": {small, func(l *Ledger) {
			l.Reserved = prefixes("10.64.0.0/27", "10.64.0.48/29", "10.64.0.56/29")
		}, "", "10.64.0.32/28"},
		"of another size by now": {small, func(l *Ledger) { l.Blocks = held("n2", "10.64.0.0/27", "10.64.0.36/30") }, "", "10.64.0.48/28"},
		"disabled":               {small, func(l *Ledger) { l.Pools[0].Disabled = true }, "", "pool small is disabled"},
		"not for this node": {small, func(l *Ledger) { l.Pools[0].Nodes = selector(t, "rack=7") }, "",
			"the nodeSelector of pool small (rack=7) does not select this node"},
		"outside the cluster": {pool(t, "far", "192.0.2.0/24", 28, "-"), func(*Ledger) {}, "", "pool far (192.0.2.0/24) is outside the cluster's pod CIDRs"},
		"no such pool":        {small, func(l *Ledger) { l.Pools = nil }, "", "there is no pool small any more"},
		"a wide one":          {pool(t, "wide", "fd00::/16", 126, "-"), func(l *Ledger) { l.Reserved = prefixes("fd00::/16") }, "", "pool wide has no block left: 0 of 4294967296 claimed, 4294967296 reserved"},
		"an address":          {small, func(l *Ledger) { l.Blocks = held("n2", "10.64.0.0/28") }, "10.64.0.20", "10.64.0.16/28"},
		"another's address":   {small, func(l *Ledger) { l.Blocks = held("n2", "10.64.0.0/28") }, "10.64.0.7", "its block 10.64.0.0/28 is held by node n2"},
		"an address that rests": {small, func(l *Ledger) {
			l.Blocks = []Block{{CIDR: netip.MustParsePrefix("10.64.0.0/28"), Node: "n2", Freed: start}}
		}, "10.64.0.7", "its block 10.64.0.0/28 was freed by node n2 less than 10m0s ago"},
	} {
		t.Run(name, func(t *testing.T) {
			l := ledger(t, "n1", c.pool)
			c.change(&l)
			o := Offer{Pools: []string{c.pool.Name}}
			if c.fixed != "" {
				o.Fixed = netip.MustParseAddr(c.fixed)
			}
			b, err := l.For(o)
			got := b.CIDR.String()
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// held are blocks of a node's.
func held(node string, cidrs ...string) []Block {
	var blocks []Block
	for _, p := range prefixes(cidrs...) {
		blocks = append(blocks, Block{CIDR: p, Pool: "small", Node: node, NodeUID: "uid-" + node, Created: start})
	}
	return blocks
}

// TestProbeAgainstAModel: of a pool that can be counted through, a block is found where one is nobody's, has room and was not freed.
func TestProbeAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pool{Name: "p", CIDR: netip.MustParsePrefix(rapid.SampledFrom([]string{"10.64.0.0/24", "fd00:64::/120"}).Draw(t, "cidr"))}
		p.BlockSize = p.CIDR.Addr().BitLen() - rapid.IntRange(2, 6).Draw(t, "host bits")
		part := func(what string, least int) netip.Prefix {
			raw := p.CIDR.Addr().AsSlice()
			raw[len(raw)-1] = rapid.Byte().Draw(t, what)
			a, _ := netip.AddrFromSlice(raw)
			q, _ := a.Prefix(rapid.IntRange(least, a.BitLen()).Draw(t, what+" bits"))
			return q
		}
		l := Ledger{Node: rapid.StringN(1, 5, -1).Draw(t, "node"), Gone: map[netip.Prefix]time.Time{}}
		for range rapid.IntRange(0, 40).Draw(t, "blocks") {
			l.Blocks = append(l.Blocks, Block{CIDR: netip.PrefixFrom(part("block", p.BlockSize).Addr(), p.BlockSize).Masked()})
		}
		for range rapid.IntRange(0, 4).Draw(t, "odd blocks") {
			l.Blocks = append(l.Blocks, Block{CIDR: part("odd block", p.CIDR.Bits())})
		}
		for range rapid.IntRange(0, 3).Draw(t, "gone") {
			l.Gone[netip.PrefixFrom(part("gone", p.BlockSize).Addr(), p.BlockSize).Masked()] = start
		}
		for range rapid.IntRange(0, 3).Draw(t, "reservations") {
			l.Reserved = append(l.Reserved, part("reserved", p.CIDR.Bits()-4))
		}
		sound := func(b netip.Prefix) bool {
			for gone := range l.Gone {
				if gone.Overlaps(b) {
					return false
				}
			}
			return !slices.ContainsFunc(l.Blocks, func(o Block) bool { return o.CIDR.Overlaps(b) }) && hasRoom(b, l.Reserved)
		}
		exists := false
		for i := range blocks(p) {
			exists = exists || sound(block(p, i))
		}
		got, err := l.probe(p)
		var none *NoBlockError
		switch {
		case exists && (err != nil || !sound(got) || got.Bits() != p.BlockSize || !p.CIDR.Contains(got.Addr())):
			t.Fatalf("got %s, %v", got, err)
		case !exists && !errors.As(err, &none):
			t.Fatalf("none is free; got %s, %v", got, err)
		}
	})
}

// TestNodesBeginApart: of a hundred nodes that know nothing of each other few want the same block.
func TestNodesBeginApart(t *testing.T) {
	p := pool(t, "main", "10.64.0.0/16", 26, "-")
	wanted := map[netip.Prefix]int{}
	for i := range 100 {
		b, err := ledger(t, fmt.Sprint("node-", i), p).probe(p)
		if err != nil {
			t.Fatal(err)
		}
		wanted[b]++
	}
	if len(wanted) < 85 { // 1024 blocks: at random about 95
		t.Errorf("100 nodes want %d blocks", len(wanted))
	}
}

func BenchmarkProbe(b *testing.B) {
	p := pool(b, "main", "10.64.0.0/10", 26, "-")
	l := ledger(b, "n1", p)
	for i := range uint64(20_000) {
		l.Blocks = append(l.Blocks, Block{CIDR: block(p, i), Pool: "main", Node: "n2"})
	}
	for b.Loop() {
		if _, err := l.probe(p); err != nil {
			b.Fatal(err)
		}
	}
}
