package nft

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
)

// Kind is what a set holds.
type Kind int

// The kinds of sets. The zero value is a kind that is none of ours.
const (
	IPv4Ranges Kind = iota + 1
	IPv6Ranges
	Interfaces
	InterfaceMACs
)

// ranges says whether the kind's elements are ranges.
func (k Kind) ranges() bool { return k == IPv4Ranges || k == IPv6Ranges }

// interfaceMAC is the type `ifname . ether_addr`.
var interfaceMAC = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr)

// Set is a named set. Its elements are ordered and do not overlap.
type Set struct {
	Name     string
	Kind     Kind
	Elements []Element

	// torn says, of a set that was read, that its ranges have no proper beginnings and ends.
	torn bool
}

// Element is a key, as the kernel's bytes: First alone, or the range from First up to but without End. In a set of ranges an empty
// End is the end of the address space.
type Element struct {
	First, End string
}

// AddressSet is a set of the prefixes' addresses of one family. Prefixes may overlap and touch: what reaches the kernel is
// disjoint, which it insists on.
func AddressSet(name string, f Family, prefixes []netip.Prefix) Set {
	s := Set{Name: name, Kind: IPv4Ranges}
	if f == IPv6 {
		s.Kind = IPv6Ranges
	}
	ranges := make([]Element, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is4() != (f == IPv4) {
			continue
		}
		ranges = append(ranges, rangeOf(p))
	}
	s.Elements = merge(ranges)
	return s
}

// InterfaceSet is a set of interface names.
func InterfaceSet(name string, interfaces []string) Set {
	s := Set{Name: name, Kind: Interfaces}
	for _, i := range slices.Compact(slices.Sorted(slices.Values(interfaces))) {
		s.Elements = append(s.Elements, Element{First: padded(i, ifNameSize)})
	}
	return s
}

// InterfaceMACSet is a set of the hardware addresses that belong to interfaces, each of which has one.
func InterfaceMACSet(name string, macs map[string][MACSize]byte) Set {
	s := Set{Name: name, Kind: InterfaceMACs}
	for _, i := range slices.Sorted(maps.Keys(macs)) {
		mac := macs[i]
		s.Elements = append(s.Elements, Element{First: padded(i, ifNameSize) + padded(string(mac[:]), paddedMACSize)})
	}
	return s
}

func padded(text string, size int) string { return text + strings.Repeat("\x00", size-len(text)) }

func rangeOf(p netip.Prefix) Element {
	first := p.Masked().Addr().AsSlice()
	end := bytes.Clone(first)
	for bit := p.Bits(); bit < len(end)*8; bit++ {
		end[bit/8] |= 0x80 >> (bit % 8)
	}
	after := "" // Nothing comes after the last address.
	if last, ok := netip.AddrFromSlice(end); ok && last.Next().IsValid() {
		after = string(last.Next().AsSlice())
	}
	return Element{First: string(first), End: after}
}

// merge joins ranges that overlap or touch.
func merge(ranges []Element) []Element {
	slices.SortFunc(ranges, func(a, b Element) int { return cmp.Compare(a.First, b.First) })
	var out []Element
	for _, r := range ranges {
		if len(out) == 0 {
			out = append(out, r)
			continue
		}
		last := &out[len(out)-1]
		switch {
		case last.End == "":
			return out
		case r.First > last.End:
			out = append(out, r)
		case r.End == "" || r.End > last.End:
			last.End = r.End
		}
	}
	return out
}

// elementsOf reads elements as the kernel dumps them: in any order, a range as its beginning and its end.
func elementsOf(kind Kind, dump []nftables.SetElement) (elements []Element, torn bool) {
	// At the same key the end of one range comes before the beginning of the next.
	slices.SortFunc(dump, func(a, b nftables.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 || a.IntervalEnd == b.IntervalEnd {
			return c
		}
		if a.IntervalEnd {
			return -1
		}
		return 1
	})
	open := false
	for _, e := range dump {
		switch {
		case !kind.ranges():
			elements = append(elements, Element{First: string(e.Key)})
		case !e.IntervalEnd && !open:
			elements, open = append(elements, Element{First: string(e.Key)}), true
		case e.IntervalEnd && open:
			elements[len(elements)-1].End, open = string(e.Key), false
		case e.IntervalEnd && len(bytes.Trim(e.Key, "\x00")) == 0:
			// nft puts an end at address zero when it restores a set. It means nothing.
		default:
			return nil, true
		}
	}
	return elements, false
}

// dumped is the elements as the kernel takes them.
func dumped(elements []Element, kind Kind) []nftables.SetElement {
	out := make([]nftables.SetElement, 0, 2*len(elements))
	for _, e := range elements {
		out = append(out, nftables.SetElement{Key: []byte(e.First)})
		if kind.ranges() && e.End != "" {
			out = append(out, nftables.SetElement{Key: []byte(e.End), IntervalEnd: true})
		}
	}
	return out
}

func (s *Set) nft(t *nftables.Table) *nftables.Set {
	out := &nftables.Set{Table: t, Name: s.Name, KeyByteOrder: binaryutil.BigEndian}
	switch s.Kind {
	case IPv4Ranges:
		out.KeyType, out.Interval = nftables.TypeIPAddr, true
	case IPv6Ranges:
		out.KeyType, out.Interval = nftables.TypeIP6Addr, true
	case Interfaces:
		out.KeyType, out.KeyByteOrder = nftables.TypeIFName, binaryutil.NativeEndian
	case InterfaceMACs:
		// Without the flag of a concatenation, as nft makes it where it is not one of ranges.
		out.KeyType, out.KeyByteOrder = interfaceMAC, binaryutil.NativeEndian
	}
	return out
}

// kindOf recognizes the kind of a set that was read.
func kindOf(s *nftables.Set) Kind {
	if s.IsMap || s.HasTimeout || s.Constant || s.Dynamic || s.Concatenation {
		return 0
	}
	switch {
	case s.Interval && s.KeyType.Name == nftables.TypeIPAddr.Name:
		return IPv4Ranges
	case s.Interval && s.KeyType.Name == nftables.TypeIP6Addr.Name:
		return IPv6Ranges
	case !s.Interval && s.KeyType.Name == nftables.TypeIFName.Name:
		return Interfaces
	case !s.Interval && s.KeyType.Name == interfaceMAC.Name:
		return InterfaceMACs
	}
	return 0
}
