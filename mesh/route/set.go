package route

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// Set brings the plan's routes to exactly these: what is missing or different is added or replaced first, then what is not
// wanted any more is removed. The first call, and the first after Forget, reads the kernel; others send only the difference
// to what was achieved so far. One route's error does not stop the others; all are joined.
//
// A route of somebody else's to the same destination with the same metric is left, and an error (unix.EEXIST); what we have to that
// destination in another table stays. Where the kernel
// cannot be read without interruption (netlink.ErrDumpInterrupted), or the device of a wanted route cannot be found, nothing
// is removed.
func (r *Router) Set(routes []*mesh.Route) error { return r.apply(routes, true) }

// Add is Set without the removals.
func (r *Router) Add(routes []*mesh.Route) error { return r.apply(routes, false) }

func (r *Router) apply(routes []*mesh.Route, removals bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	interrupted := r.load()
	if interrupted != nil && !errors.Is(interrupted, netlink.ErrDumpInterrupted) {
		return interrupted
	}
	have, want, links, unresolved := r.unsettled(routes)
	changes := mesh.Diff(have, want, entry.slot, func(have, want entry) bool { return have == want })
	r.settled = nil
	errs := []error{interrupted, unresolved, r.addRules(routes)}
	forget := interrupted != nil
	failed := map[netip.Prefix]bool{}

	// The unreachable routes come first and go last, so that no destination is without either.
	slices.SortStableFunc(changes.Set, func(a, b entry) int { return b.kind - a.kind })
	for _, e := range changes.Set {
		err := r.put(e)
		failed[e.Destination] = err != nil
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
			if failed[e.Destination] {
				continue
			}
			errs = append(errs, r.drop(e))
		}
		errs = append(errs, r.removeRules())
	}
	err := errors.Join(errs...)
	switch {
	case forget:
		r.unsettle()
	case removals && err == nil:
		r.settled, r.settledLinks = routes, links
	}
	return err
}

// unsettled are the entries to compare, what the kernel holds and what it should, and the links that they were resolved by. Where the
// kernel is known to hold what was wanted last, that is what has changed since, and one event costs the same in a mesh of any size.
func (r *Router) unsettled(routes []*mesh.Route) (have, want []entry, links map[string]int, err error) {
	if r.settled != nil {
		before, rest := mesh.Trim(r.settled, routes, (*mesh.Route).Equal)
		devices := devicesOf(rest)
		for device := range r.settledLinks {
			devices[device] = struct{}{}
		}
		links, err = r.links(devices)
		if maps.Equal(links, r.settledLinks) {
			return resolve(before, links), resolve(rest, links), links, err
		}
	}
	links, err = r.links(devicesOf(routes))
	return slices.Collect(maps.Values(r.held)), resolve(routes, links), links, err
}

// devicesOf are the names of the devices that routes leave by; empty for those that leave by none.
func devicesOf(routes []*mesh.Route) map[string]struct{} {
	devices := map[string]struct{}{}
	for _, route := range routes {
		devices[route.Device] = struct{}{}
	}
	return devices
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

// links looks up devices. Those that cannot be found have none, and the routes that are remembered of them are forgotten if there is no
// such device: they went with it.
func (r *Router) links(devices map[string]struct{}) (map[string]int, error) {
	links := map[string]int{}
	var errs []error
	for device := range devices {
		if device == "" {
			links[device] = 0
			continue
		}
		link, err := r.handle.LinkByName(device)
		if err == nil {
			links[device] = link.Attrs().Index
			continue
		}
		errs = append(errs, fmt.Errorf("adding routes by %s: finding link: %w", device, err))
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			maps.DeleteFunc(r.held, func(_ slot, e entry) bool { return e.Device == device })
		}
	}
	return links, errors.Join(errs...)
}

// resolve leaves the routes out whose device was not found.
func resolve(routes []*mesh.Route, links map[string]int) []entry {
	entries := make([]entry, 0, len(routes))
	for _, route := range routes {
		if index, ok := links[route.Device]; ok {
			entries = append(entries, wanted(route, index))
		}
	}
	return entries
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
	r.own.begin(e.Destination)
	err := r.handle.RouteDel(e.removal())
	if err != nil {
		r.own.cancel(e.Destination)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("removing route %s: %w", e, err)
	}
	delete(r.held, e.slot())
	return nil
}
