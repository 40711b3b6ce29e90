package nft

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
)

// Kind is what a set holds.
type Kind int

// The kinds of sets. The zero value is a kind that is none of ours.
const (
	IPv4Ranges Kind = iota + 1
	IPv6Ranges
	Interfaces
	InterfaceMACs
	// IPv4Addresses and IPv6Addresses are of single addresses, by their hash.
	IPv4Addresses
	IPv6Addresses
	// IPv4Ports and IPv6Ports are of an address, a protocol and a port of it.
	IPv4Ports
	IPv6Ports
	// InterfaceIPv4s and InterfaceIPv6s are of addresses that belong to interfaces.
	InterfaceIPv4s
	InterfaceIPv6s
	// IPv4Flows and IPv6Flows are of flows, each for as long as it says.
	IPv4Flows
	IPv6Flows
	// InterfaceVerdicts is a map of what becomes of an interface's packets.
	InterfaceVerdicts
)

// ranges says whether the kind's elements are ranges.
func (k Kind) ranges() bool { return k == IPv4Ranges || k == IPv6Ranges }

// fleeting says whether the kind's elements go by themselves, so that what is there is not held against what is wanted.
func (k Kind) fleeting() bool { return k == IPv4Flows || k == IPv6Flows }

// Set is a named set. Its elements are ordered and do not overlap.
type Set struct {
	Name     string
	Kind     Kind
	Elements []Element

	// Source makes the elements in the place of Elements, where there are so many that not those of all sets should be held at once.
	Source func() []Element

	// torn says, of a set that was read, that its ranges have no proper beginnings and ends.
	torn bool
}

// Element is a key, as the kernel's bytes: First alone, or the range from First up to but without End. In a set of ranges an empty
// End is the end of the address space.
type Element struct {
	First, End string
	// Verdict is what a map holds under the key, as nft writes it.
	Verdict string
	// Timeout is for how long a flow stays; zero for ever.
	Timeout time.Duration
	Comment string
}

// elements are those that the set should have.
func (s *Set) elements() []Element {
	if s.Source != nil {
		return s.Source()
	}
	return s.Elements
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

// dumped is the elements as the kernel takes them.
func dumped(elements []Element, kind Kind) []nftables.SetElement {
	out := make([]nftables.SetElement, 0, 2*len(elements))
	for _, e := range elements {
		out = append(out, nftables.SetElement{Key: []byte(e.First), VerdictData: verdict(e.Verdict), Timeout: e.Timeout, Comment: e.Comment})
		if kind.ranges() && e.End != "" {
			out = append(out, nftables.SetElement{Key: []byte(e.End), IntervalEnd: true})
		}
	}
	return out
}
