package route

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// Set brings the plan's routes to exactly these: what is missing or different is added or replaced first, then what is not
// wanted any more is removed. The first call, and the first after Forget, reads the kernel; others send only the difference
// to what was achieved so far. One route's error does not stop the others; all are joined.
//
// A route of somebody else's to the same destination with the same metric is left, and an error (unix.EEXIST). Where the kernel
// cannot be read without interruption (netlink.ErrDumpInterrupted), or the device of a wanted route cannot be found, nothing
// is removed.
func (r *Router) Set(routes []mesh.Route) error { return r.apply(routes, true) }

// Add is Set without the removals.
func (r *Router) Add(routes []mesh.Route) error { return r.apply(routes, false) }

func (r *Router) apply(routes []mesh.Route, removals bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	interrupted := r.load()
	if interrupted != nil && !errors.Is(interrupted, netlink.ErrDumpInterrupted) {
		return interrupted
	}
	want, unresolved := r.resolve(routes)
	changes := mesh.Diff(slices.Collect(maps.Values(r.held)), want, entry.slot, func(have, want entry) bool { return have == want })
	errs := []error{interrupted, unresolved}
	forget := interrupted != nil

	// The unreachable routes come first and go last, so that no destination is without either.
	slices.SortStableFunc(changes.Set, func(a, b entry) int { return b.kind - a.kind })
	for _, e := range changes.Set {
		err := r.put(e)
		if errors.Is(err, unix.EEXIST) {
			// Either the route is somebody else's, or the kernel has changed behind our back, or a part of the dump is missing.
			forget = true
			if interrupted != nil {
				continue
			}
		}
		errs = append(errs, err)
	}
	if removals && interrupted == nil && unresolved == nil {
		slices.SortFunc(changes.Remove, func(a, b entry) int {
			if a.kind != b.kind {
				return a.kind - b.kind
			}
			return a.Destination.Compare(b.Destination)
		})
		for _, e := range changes.Remove {
			errs = append(errs, r.drop(e))
		}
	}
	if forget {
		r.held = nil
	}
	return errors.Join(errs...)
}

// load reads the kernel unless it is remembered. With netlink.ErrDumpInterrupted, held is what was seen.
func (r *Router) load() error {
	if r.held != nil {
		return nil
	}
	entries, err := r.list()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	r.held = make(map[slot]entry, len(entries))
	for _, e := range entries {
		r.held[e.slot()] = e
	}
	return err
}

// resolve looks up the routes' devices, each once. The routes of a device that cannot be found are left out, and those
// remembered are forgotten if there is no such device: they went with it.
func (r *Router) resolve(routes []mesh.Route) ([]entry, error) {
	entries := make([]entry, 0, len(routes))
	indexes := map[string]int{"": 0}
	var errs []error
	for _, route := range routes {
		index, ok := indexes[route.Device]
		if !ok {
			link, err := r.handle.LinkByName(route.Device)
			if err != nil {
				index = -1
				errs = append(errs, fmt.Errorf("adding routes by %s: finding link: %w", route.Device, err))
				if errors.As(err, &netlink.LinkNotFoundError{}) {
					maps.DeleteFunc(r.held, func(_ slot, e entry) bool { return e.Device == route.Device })
				}
			} else {
				index = link.Attrs().Index
			}
			indexes[route.Device] = index
		}
		if index >= 0 {
			entries = append(entries, wanted(route, index))
		}
	}
	return entries, errors.Join(errs...)
}

// put adds a route, or replaces the one that is known to be ours. Adding is exclusive: a replacement would take the place
// of anybody's.
func (r *Router) put(e entry) error {
	send := r.handle.RouteAdd
	if _, ok := r.held[e.slot()]; ok {
		send = r.handle.RouteReplace
	}
	r.onMessage(1)
	if err := send(e.message()); err != nil {
		return fmt.Errorf("adding route %s: %w", e, err)
	}
	r.held[e.slot()] = e
	return nil
}

func (r *Router) drop(e entry) error {
	r.onMessage(1)
	if err := r.handle.RouteDel(e.removal()); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("removing route %s: %w", e, err)
	}
	delete(r.held, e.slot())
	return nil
}
