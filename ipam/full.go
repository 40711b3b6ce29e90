package ipam

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Use is how much of a prefix is in use.
type Use struct {
	Prefix netip.Prefix `json:"prefix"`
	// Pool is the name of the pool that the prefix is of; empty where it is of none.
	Pool string `json:"pool,omitempty"`
	// Size is how many addresses pods may have, Leased how many they have, Cooling how many were released a moment ago, and Reserved how
	// many of the others are kept out.
	Size     int `json:"size"`
	Leased   int `json:"leased"`
	Cooling  int `json:"cooling"`
	Reserved int `json:"reserved,omitempty"`
	// Next is when the first of those that were released may be used again.
	Next time.Duration `json:"next,omitempty"`
}

// Free is how many addresses pods may have now.
func (u Use) Free() int { return u.Size - u.Leased - u.Cooling - u.Reserved }

// String is for people.
func (u Use) String() string {
	text := fmt.Sprintf("%s: %d of %d leased", u.Prefix, u.Leased, u.Size)
	if u.Pool != "" {
		text = "pool " + u.Pool + ", block " + text
	}
	if u.Cooling > 0 {
		text += fmt.Sprintf(", %d released less than %s ago", u.Cooling, CoolDown)
	}
	if u.Reserved > 0 {
		text += fmt.Sprintf(", %d reserved", u.Reserved)
	}
	return text
}

// FullError says that no address is free, and how the prefixes are used that it could have come from.
type FullError struct {
	Uses []Use
	// Offer is what nothing was free in.
	Offer Offer
	// NoBlock is why the node has no further block; nil where it did not ask for one.
	NoBlock error
}

// Error implements error.
func (e *FullError) Error() string {
	var parts []string
	switch {
	case e.Offer.Fixed.IsValid():
		parts = []string{fmt.Sprintf("%s, which the pod asks for (%s), is in no block of this node", e.Offer.Fixed, AnnotationIP)}
	case len(e.Uses) == 0:
		parts = []string{"no address is free: this node has no block of " + poolList(e.Offer.Pools)}
	default:
		texts := make([]string, len(e.Uses))
		for i, u := range e.Uses {
			texts[i] = u.String()
		}
		parts = []string{"no address is free in " + strings.Join(texts, "; ")}
	}
	if e.NoBlock != nil {
		parts = append(parts, e.NoBlock.Error())
	}
	return strings.Join(parts, "; ")
}

// Unwrap gives why there is no further block.
func (e *FullError) Unwrap() error { return e.NoBlock }

func poolList(names []string) string {
	if len(names) == 1 {
		return "pool " + names[0]
	}
	return "the pools " + strings.Join(names, ", ")
}
