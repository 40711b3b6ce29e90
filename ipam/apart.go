package ipam

import (
	"cmp"
	"fmt"
	"slices"
)

// Overlap is a pool that does not count, and why.
type Overlap struct{ Pool, Why string }

// Apart are the pools that count, in the order of their names: of those that overlap the older one. Admission keeps pools apart; these were
// made in the same moment, or while it was not in force.
func Apart(pools []Pool) (apart []Pool, overlaps []Overlap) {
	byAge := slices.SortedFunc(slices.Values(pools), func(a, b Pool) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range byAge {
		if i := slices.IndexFunc(apart, func(o Pool) bool { return o.CIDR.Overlaps(p.CIDR) }); i >= 0 {
			overlaps = append(overlaps, Overlap{Pool: p.Name, Why: fmt.Sprintf("%s overlaps %s of IPPool %s, which is older", p.CIDR, apart[i].CIDR, apart[i].Name)})
			continue
		}
		apart = append(apart, p)
	}
	slices.SortFunc(apart, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(overlaps, func(a, b Overlap) int { return cmp.Compare(a.Pool, b.Pool) })
	return apart, overlaps
}
