package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"
)

// TestBlocksHoldWhatTheySay: of hundreds of blocks that overlap at random, with what they except, the ranges are ordered, do not touch,
// and hold just the addresses that some block has.
func TestBlocksHoldWhatTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
			// Few addresses and many lengths: nearly everything overlaps, and ends meet.
			if rapid.Bool().Draw(t, "IPv6") {
				a := netip.AddrFrom16([16]byte{0: 0xfd, 15: rapid.Byte().Draw(t, "address")})
				return netip.PrefixFrom(a, rapid.SampledFrom([]int{0, 8, 120, 122, 124, 126, 127, 128}).Draw(t, "bits"))
			}
			a := netip.AddrFrom4([4]byte{rapid.SampledFrom([]byte{0, 10, 255}).Draw(t, "network"), 255, 255, rapid.Byte().Draw(t, "address")})
			return netip.PrefixFrom(a, rapid.SampledFrom([]int{0, 1, 8, 24, 26, 28, 30, 31, 32}).Draw(t, "bits"))
		})
		var c compiler
		var peers []peer
		var blocks []networkingv1.IPBlock
		for range rapid.IntRange(0, 60).Draw(t, "blocks") {
			b := networkingv1.IPBlock{CIDR: prefix.Draw(t, "CIDR").String()}
			for _, e := range rapid.SliceOfN(prefix, 0, 4).Draw(t, "exceptions") {
				b.Except = append(b.Except, e.String())
			}
			p, ok := c.ipBlock("", &b)
			if !ok {
				t.Fatalf("%+v was not understood: %v", b, c.problems)
			}
			blocks, peers = append(blocks, b), append(peers, p)
		}
		ranges := joinRanges(peers)[0].ranges
		for _, family := range ranges {
			for i, r := range family {
				if r.Last.Less(r.First) || i > 0 && !beyond(family[i-1].Last, r.First) {
					t.Fatalf("%s is out of order, or touches another one of %s", r, family)
				}
			}
		}
		for _, p := range rapid.SliceOfN(prefix, 1, 20).Draw(t, "probed") {
			probed := rangeOf(p)
			for _, a := range []netip.Addr{p.Addr(), probed.First, probed.Last, probed.First.Prev(), probed.Last.Next()} {
				if !a.IsValid() {
					continue
				}
				want, got := inBlocks(blocks, a), holds(ranges[0], a) || holds(ranges[1], a)
				if want != got {
					t.Fatalf("%s is in a block: %t, and in the ranges %s: %t", a, want, ranges, got)
				}
			}
		}
	})
}

func inBlocks(blocks []networkingv1.IPBlock, a netip.Addr) bool {
	for _, b := range blocks {
		in := netip.MustParsePrefix(b.CIDR).Contains(a)
		for _, e := range b.Except {
			in = in && !netip.MustParsePrefix(e).Contains(a)
		}
		if in {
			return true
		}
	}
	return false
}

func TestMergePorts(t *testing.T) {
	for _, c := range []struct {
		title    string
		in, want []PortRange
	}{
		{"none", nil, nil},
		{"in order", []PortRange{{443, 443}, {80, 80}}, []PortRange{{80, 80}, {443, 443}}},
		{"overlapping", []PortRange{{80, 90}, {85, 100}, {82, 83}}, []PortRange{{80, 100}}},
		{"touching", []PortRange{{81, 90}, {80, 80}}, []PortRange{{80, 90}}},
		{"the last one", []PortRange{{65535, 65535}, {1, 65535}, {65000, 65001}}, []PortRange{{1, 65535}}},
	} {
		t.Run(c.title, func(t *testing.T) {
			if diff := cmp.Diff(c.want, mergePorts(c.in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFiveHundredBlocks is of one rule.
func TestFiveHundredBlocks(t *testing.T) {
	var peers []peer
	var c compiler
	for i := range 500 {
		b := networkingv1.IPBlock{CIDR: fmt.Sprintf("10.%d.%d.0/%d", i*37%64, i*91%256, 12+i*7%21)}
		p, ok := c.ipBlock("", &b)
		if !ok {
			t.Fatal(c.problems)
		}
		peers = append(peers, p)
	}
	ranges := joinRanges(peers)[0].ranges[0]
	if len(ranges) == 0 || len(ranges) > 500 {
		t.Errorf("500 blocks make %d ranges", len(ranges))
	}
}
