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
	// Size is how many addresses pods may have, Leased how many they have, Cooling how many were released a moment ago.
	Size    int `json:"size"`
	Leased  int `json:"leased"`
	Cooling int `json:"cooling"`
	// Next is when the first of those may be used again.
	Next time.Duration `json:"next,omitempty"`
}

// String is for people.
func (u Use) String() string {
	text := fmt.Sprintf("%s: %d of %d leased", u.Prefix, u.Leased, u.Size)
	if u.Cooling > 0 {
		text += fmt.Sprintf(", %d released less than %s ago", u.Cooling, CoolDown)
	}
	return text
}

// FullError says that no address is free, and how the prefixes are used that it could have come from.
type FullError struct{ Uses []Use }

// Error implements error.
func (e *FullError) Error() string {
	texts := make([]string, len(e.Uses))
	for i, u := range e.Uses {
		texts[i] = u.String()
	}
	return "no address is free in " + strings.Join(texts, "; ")
}
