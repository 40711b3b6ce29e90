package policy

import (
	"cmp"
	"net/netip"
	"slices"
)

// rangeOf is all of a prefix.
func rangeOf(p netip.Prefix) Range {
	first := p.Masked().Addr()
	last := first.AsSlice()
	for bit := p.Bits(); bit < first.BitLen(); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return Range{first, end}
}

// merge orders ranges of one family, and joins those that overlap or touch.
func merge(ranges []Range) []Range {
	ranges = slices.SortedFunc(slices.Values(ranges), func(a, b Range) int { return a.First.Compare(b.First) })
	var merged []Range
	for _, r := range ranges {
		if last := len(merged) - 1; last >= 0 && !beyond(merged[last].Last, r.First) {
			if merged[last].Last.Less(r.Last) {
				merged[last].Last = r.Last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// beyond says that an address lies behind a range's end with at least one address between.
func beyond(last, a netip.Addr) bool {
	next := last.Next()
	return next.IsValid() && next.Less(a)
}

// subtract takes merged ranges out of a range of the same family.
func subtract(from Range, holes []Range) (left []Range) {
	for _, hole := range holes {
		if hole.Last.Less(from.First) || from.Last.Less(hole.First) {
			continue
		}
		if from.First.Less(hole.First) {
			left = append(left, Range{from.First, hole.First.Prev()})
		}
		if !hole.Last.Less(from.Last) {
			return left
		}
		from.First = hole.Last.Next()
	}
	return append(left, from)
}

// mergePorts orders ranges of ports, and joins those that overlap or touch.
func mergePorts(ranges []PortRange) []PortRange {
	ranges = slices.SortedFunc(slices.Values(ranges), func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	var merged []PortRange
	for _, r := range ranges {
		if last := len(merged) - 1; last >= 0 && int(r.First) <= int(merged[last].Last)+1 {
			merged[last].Last = max(merged[last].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// holds says whether an address is in ranges that are ordered and disjoint.
func holds(ranges []Range, a netip.Addr) bool {
	at, found := slices.BinarySearchFunc(ranges, a, func(r Range, a netip.Addr) int { return r.First.Compare(a) })
	return found || at > 0 && !ranges[at-1].Last.Less(a)
}
