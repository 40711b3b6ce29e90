package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
)

// text is a range as a person writes it.
func text(e Element) string {
	first, _ := netip.AddrFromSlice([]byte(e.First))
	if e.End == "" {
		return fmt.Sprintf("%s up", first)
	}
	end, _ := netip.AddrFromSlice([]byte(e.End))
	return fmt.Sprintf("%s-%s", first, end.Prev())
}

func TestAddressSet(t *testing.T) {
	for _, c := range []struct {
		name     string
		family   Family
		prefixes []string
		want     []string
	}{
		{"none", IPv4, nil, nil},
		{"other family", IPv4, []string{"fd00::/8"}, nil},
		{"one address", IPv4, []string{"10.0.0.7/32"}, []string{"10.0.0.7-10.0.0.7"}},
		{"bits beyond the mask", IPv4, []string{"10.0.0.7/24"}, []string{"10.0.0.0-10.0.0.255"}},
		{"twice", IPv4, []string{"10.0.0.0/24", "10.0.0.0/24"}, []string{"10.0.0.0-10.0.0.255"}},
		{"within", IPv4, []string{"10.0.0.0/24", "10.0.0.64/26", "10.0.0.0/26"}, []string{"10.0.0.0-10.0.0.255"}},
		{"touching", IPv4, []string{"10.0.2.0/24", "10.0.1.0/24"}, []string{"10.0.1.0-10.0.2.255"}},
		{"apart", IPv4, []string{"10.0.3.0/24", "10.0.1.0/24"}, []string{"10.0.1.0-10.0.1.255", "10.0.3.0-10.0.3.255"}},
		{"everything", IPv4, []string{"10.0.0.0/8", "0.0.0.0/0", "192.0.2.0/24"}, []string{"0.0.0.0 up"}},
		{"the end", IPv4, []string{"255.255.255.255/32", "255.255.255.0/25"}, []string{"255.255.255.0-255.255.255.127", "255.255.255.255 up"}},
		{"IPv6", IPv6, []string{"fd00::/64", "fd00:0:0:1::/64", "10.0.0.0/8"}, []string{"fd00::-fd00::1:ffff:ffff:ffff:ffff"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var prefixes []netip.Prefix
			for _, p := range c.prefixes {
				prefixes = append(prefixes, netip.MustParsePrefix(p))
			}
			var got []string
			s := AddressSet("s", c.family, prefixes)
			for _, e := range s.Elements {
				got = append(got, text(e))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			back, torn := rangesOf(ends(dumped(s.Elements, s.Kind)))
			if d := cmp.Diff(s.Elements, back); d != "" || torn {
				t.Errorf("there and back, torn %v (-want +got):\n%s", torn, d)
			}
		})
	}
}

// ends are the beginnings and ends of ranges, as the kernel would give back what it was given.
func ends(given []nftables.SetElement) (out []dumpedElement) {
	for _, e := range given {
		out = append(out, dumpedElement{Element{First: string(e.Key)}, e.IntervalEnd})
	}
	return out
}

func TestRangesOf(t *testing.T) {
	begin := func(b byte) nftables.SetElement { return nftables.SetElement{Key: []byte{10, 0, 0, b}} }
	end := func(b byte) nftables.SetElement {
		return nftables.SetElement{Key: []byte{10, 0, 0, b}, IntervalEnd: true}
	}
	zero := nftables.SetElement{Key: make([]byte, 4), IntervalEnd: true}
	for _, c := range []struct {
		name string
		dump []nftables.SetElement
		want []string
		torn bool
	}{
		{"backwards, as the kernel dumps", []nftables.SetElement{end(9), begin(5), end(3), begin(1)}, []string{"10.0.0.1-10.0.0.2", "10.0.0.5-10.0.0.8"}, false},
		{"touching", []nftables.SetElement{begin(1), begin(3), end(3), end(5)}, []string{"10.0.0.1-10.0.0.2", "10.0.0.3-10.0.0.4"}, false},
		{"nft's end at zero", []nftables.SetElement{begin(1), end(3), zero}, []string{"10.0.0.1-10.0.0.2"}, false},
		{"two beginnings", []nftables.SetElement{begin(1), begin(2), end(3)}, nil, true},
		{"an end without a beginning", []nftables.SetElement{begin(1), end(3), end(4)}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			elements, torn := rangesOf(ends(c.dump))
			var got []string
			for _, e := range elements {
				got = append(got, text(e))
			}
			if d := cmp.Diff(c.want, got); d != "" || torn != c.torn {
				t.Errorf("torn %v, want %v (-want +got):\n%s", torn, c.torn, d)
			}
		})
	}
}

func TestCommentOf(t *testing.T) {
	for want, data := range map[string][]byte{
		"ours": {0, 5, 'o', 'u', 'r', 's', 0},
		"next": {1, 1, 'x', 0, 5, 'n', 'e', 'x', 't', 0},
	} {
		if got := commentOf(data); got != want {
			t.Errorf("%v is %q, want %q", data, got, want)
		}
	}
	for _, data := range [][]byte{nil, {0}, {0, 0}, {0, 200, 'x'}, {7, 1}, {1, 1, 'x', 0}} {
		if got := commentOf(data); got != "" {
			t.Errorf("%v is %q, want none", data, got)
		}
	}
}
