package ipam

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

var longAgo = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// claimed is a block of n1 that counts, as old as its number of seconds says.
func claimed(cidr, pool string, second int) Block {
	return Block{CIDR: netip.MustParsePrefix(cidr), Pool: pool, Node: "n1", NodeUID: "u1", Created: longAgo.Add(time.Duration(second) * time.Second)}
}

func selects(t *testing.T, selector string) labels.Selector {
	t.Helper()
	parsed, err := labels.Parse(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestBelieve(t *testing.T) {
	pools := map[string]Pool{
		"v4":   {Name: "v4", CIDR: netip.MustParsePrefix("10.64.0.0/16"), BlockSize: 26, Nodes: labels.Everything()},
		"v6":   {Name: "v6", CIDR: netip.MustParsePrefix("fd00:64::/48"), BlockSize: 122, Nodes: labels.Everything(), Disabled: true},
		"edge": {Name: "edge", CIDR: netip.MustParsePrefix("10.65.0.0/16"), BlockSize: 28, Nodes: selects(t, "edge=true")},
		"core": {Name: "core", CIDR: netip.MustParsePrefix("10.66.0.0/16"), BlockSize: 28, Nodes: selects(t, "edge!=true")},
	}
	holder := Holder{Name: "n1", UID: "u1", Labels: labels.Set{"edge": "true"}}
	change := func(b Block, f func(*Block)) Block { f(&b); return b }
	block := claimed("10.64.0.0/26", "v4", 1)
	for name, c := range map[string]struct {
		block Block
		want  string
	}{
		"a block":                     {block: block},
		"of a disabled pool":          {block: claimed("fd00:64::40/122", "v6", 1)},
		"of a pool for such nodes":    {block: claimed("10.65.0.16/28", "edge", 1)},
		"of a pool for others":        {claimed("10.66.0.16/28", "core", 1), "IPPool core is for nodes with edge!=true"},
		"being deleted":               {block: change(block, func(b *Block) { b.Freed = longAgo })},
		"of the Node before":          {change(block, func(b *Block) { b.NodeUID = "u0" }), `owned by the Node with UID "u0", and this one has "u1"`},
		"without an owner":            {change(block, func(b *Block) { b.NodeUID = "" }), `owned by the Node with UID ""`},
		"of another node":             {change(block, func(b *Block) { b.Node = "n2" }), "it is of node n2"},
		"of a pool that is not there": {claimed("10.64.0.0/26", "gone", 1), `there is no IPPool "gone"`},
		"outside its pool":            {claimed("10.67.0.0/26", "v4", 1), "it is no block of IPPool v4, which is 10.64.0.0/16 in blocks of /26"},
		"of the other family":         {claimed("fd00:64::40/122", "v4", 1), "no block of IPPool v4"},
		"too large":                   {claimed("10.64.0.0/25", "v4", 1), "no block of IPPool v4"},
		"too small":                   {claimed("10.64.0.0/27", "v4", 1), "no block of IPPool v4"},
		"unaligned":                   {change(block, func(b *Block) { b.CIDR = netip.MustParsePrefix("10.64.0.1/26") }), "no block of IPPool v4"},
		"of no CIDR":                  {change(block, func(b *Block) { b.CIDR = netip.Prefix{} }), "no block of IPPool v4"},
		"IPv4 in IPv6":                {claimed("::ffff:10.64.0.0/122", "v4", 1), "no block of IPPool v4"},
	} {
		t.Run(name, func(t *testing.T) {
			held, doubts := Believe(holder, []Block{c.block}, pools)
			switch {
			case c.want == "" && (len(held) != 1 || len(doubts) != 0):
				t.Errorf("held %v, doubts %v; want it to count", held, doubts)
			case c.want != "" && (len(held) != 0 || len(doubts) != 1 || !strings.Contains(doubts[0].Why, c.want)):
				t.Errorf("held %v, doubts %v; want %q", held, doubts, c.want)
			}
		})
	}
}

func TestTheMeshAddressStays(t *testing.T) {
	pools := map[string]Pool{"v4": {Name: "v4", CIDR: netip.MustParsePrefix("10.64.0.0/16"), BlockSize: 26, Nodes: labels.Everything()}}
	first := claimed("10.64.9.0/26", "v4", 5)
	first.MeshAddress = true
	order := func(blocks ...Block) (cidrs []string) {
		held, _ := Believe(Holder{Name: "n1", UID: "u1"}, blocks, pools)
		for _, b := range held {
			cidrs = append(cidrs, b.CIDR.String())
		}
		return cidrs
	}
	want := []string{"10.64.9.0/26", "10.64.2.0/26", "10.64.1.0/26"}
	if diff := cmp.Diff(want, order(claimed("10.64.1.0/26", "v4", 7), claimed("10.64.2.0/26", "v4", 6), first)); diff != "" {
		t.Errorf("as they were claimed (-want +got):\n%s", diff)
	}
	// All taken back in one second, the first one last.
	first.Created = longAgo.Add(time.Hour + time.Second)
	want = []string{"10.64.9.0/26", "10.64.1.0/26", "10.64.2.0/26"}
	if diff := cmp.Diff(want, order(claimed("10.64.1.0/26", "v4", 3600), claimed("10.64.2.0/26", "v4", 3600), first)); diff != "" {
		t.Errorf("taken back (-want +got):\n%s", diff)
	}
}

// anyPrefix is a prefix of few, so that they meet.
func anyPrefix(t *rapid.T, what string) netip.Prefix {
	bits := rapid.IntRange(12, 28).Draw(t, what+" bits")
	addr := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, what+" a")), byte(rapid.IntRange(0, 3).Draw(t, what+" b") << 6), 0})
	return netip.PrefixFrom(addr, bits).Masked()
}

func TestAnyPoolsAreApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pools []Pool
		for i := range rapid.IntRange(0, 8).Draw(t, "pools") {
			pools = append(pools, Pool{
				Name: string(rune('a' + i)), UID: string(rune('z' - i)), CIDR: anyPrefix(t, "pool"),
				Created: longAgo.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Second),
			})
		}
		apart, overlaps := Apart(pools)
		if len(apart)+len(overlaps) != len(pools) {
			t.Fatalf("of %d pools %d count and %d do not", len(pools), len(apart), len(overlaps))
		}
		for i, p := range apart {
			for _, o := range apart[i+1:] {
				if p.CIDR.Overlaps(o.CIDR) {
					t.Fatalf("%s and %s overlap, and both count", p.CIDR, o.CIDR)
				}
			}
		}
		for _, o := range overlaps {
			younger := pools[slices.IndexFunc(pools, func(p Pool) bool { return p.Name == o.Pool })]
			older := func(p Pool) bool {
				return p.CIDR.Overlaps(younger.CIDR) && (p.Created.Before(younger.Created) || p.Created.Equal(younger.Created) && p.UID < younger.UID)
			}
			if !slices.ContainsFunc(apart, older) {
				t.Fatalf("%s does not count (%s), and overlaps no older one that does", o.Pool, o.Why)
			}
		}
		again, _ := Apart(rapid.Permutation(pools).Draw(t, "order"))
		if diff := cmp.Diff(poolNames(apart), poolNames(again)); diff != "" {
			t.Fatalf("in another order others count (-first +again):\n%s", diff)
		}
	})
}

func poolNames(pools []Pool) (names []string) {
	for _, p := range pools {
		names = append(names, p.Name)
	}
	return names
}

// TestAnyBlocks: whatever nodes claim, what counts of all of them is apart, and inside their pools.
func TestAnyBlocks(t *testing.T) {
	pools := map[string]Pool{
		"a": {Name: "a", CIDR: netip.MustParsePrefix("10.0.0.0/16"), BlockSize: 20, Nodes: labels.Everything()},
		"b": {Name: "b", CIDR: netip.MustParsePrefix("10.1.0.0/16"), BlockSize: 18, Nodes: labels.SelectorFromSet(labels.Set{"b": "b"})},
	}
	rapid.Check(t, func(t *rapid.T) {
		byCIDR := map[netip.Prefix]Block{} // the API server lets a name be there but once
		for i := range rapid.IntRange(0, 20).Draw(t, "blocks") {
			b := Block{
				CIDR: anyPrefix(t, "block"), Pool: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "pool"),
				Node: rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "node"), NodeUID: rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "owner"),
				MeshAddress: rapid.Bool().Draw(t, "mesh"), Created: longAgo.Add(time.Duration(i) * time.Second),
			}
			byCIDR[b.CIDR] = b
		}
		var all []netip.Prefix
		for _, node := range []string{"n1", "n2"} {
			var blocks []Block
			for _, b := range byCIDR {
				if b.Node == node {
					blocks = append(blocks, b)
				}
			}
			holder := Holder{Name: node, UID: node}
			if node == "n2" {
				holder.Labels = labels.Set{"b": "b"}
			}
			held, doubts := Believe(holder, blocks, pools)
			if len(held)+len(doubts) != len(blocks) {
				t.Fatalf("of %d blocks %d count and %d do not", len(blocks), len(held), len(doubts))
			}
			for _, b := range held {
				if pool, ok := pools[b.Pool]; !ok || b.NodeUID != node || !pool.CIDR.Overlaps(b.CIDR) || b.CIDR.Bits() != pool.BlockSize || b.Pool == "b" && node == "n1" {
					t.Fatalf("%+v counts for %s", b, node)
				}
				if i := slices.IndexFunc(all, b.CIDR.Overlaps); i >= 0 {
					t.Fatalf("%s and %s both count", b.CIDR, all[i])
				}
				all = append(all, b.CIDR)
			}
		}
	})
}

func TestCounts(t *testing.T) {
	pools := []Pool{
		{Name: "v4", CIDR: netip.MustParsePrefix("10.64.0.0/16"), BlockSize: 26},
		{Name: "v6", CIDR: netip.MustParsePrefix("fd00:64::/48"), BlockSize: 122},
	}
	freed := claimed("10.64.3.0/26", "v4", 1)
	freed.Node, freed.Freed = "n2", longAgo
	got := Counts(pools, []Block{claimed("10.64.0.0/26", "v4", 1), claimed("10.64.1.0/26", "v4", 1), freed, claimed("10.70.0.0/26", "gone", 1)})
	want := map[string]Count{"v4": {Blocks: 3, Capacity: 1024, Nodes: 2}, "v6": {Capacity: 1 << 62}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
