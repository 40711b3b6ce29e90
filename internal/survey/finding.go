// Package survey says what is wrong with addresses: of one node's pods, and of all nodes'. It is pure: who calls it has looked.
package survey

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Finding is one thing that is wrong.
type Finding struct {
	// About is an address, a link, a pod or a node.
	About   string `json:"about"`
	Problem string `json:"problem"`
	// Do is what puts it right.
	Do string `json:"do"`
}

// String is for people, in a line.
func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.About, f.Problem, f.Do) }

// inOrder sorts by what they are about.
func inOrder(findings []Finding) []Finding {
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.About, b.About), cmp.Compare(a.Problem, b.Problem))
	})
	return findings
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func list[T fmt.Stringer](items []T) string {
	if len(items) == 0 {
		return "none"
	}
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.String()
	}
	return strings.Join(texts, ", ")
}
