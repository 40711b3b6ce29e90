// Package dump reads what the kernel lists by rtnetlink (a dump): links, addresses, routes.
package dump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// attempts is how often a dump that changes interrupted is begun anew. They interrupt one where somebody makes or moves links at the
// same time, as happens whenever pods come and go.
const attempts = 10

// Undisturbed calls a function that dumps until nothing interrupted the dump. If something did each time, the error is
// netlink.ErrDumpInterrupted, and what was read may lack something or have it twice.
func Undisturbed[T any](dump func() ([]T, error)) (items []T, err error) {
	for range attempts {
		items, err = dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return items, err
		}
	}
	return items, err
}
