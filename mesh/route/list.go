package route

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
)

// list reads the routes that are the plan's: those of our protocol, in the main table and in mesh.MigrationTable, that are not a pod's.
// With netlink.ErrDumpInterrupted come the routes that were seen.
func list(handle *netlink.Handle) ([]entry, error) {
	var routes []netlink.Route
	var interrupted error
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		some, err := dump.Undisturbed(func() ([]netlink.Route, error) { return dumpRoutes(handle, family) })
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("listing routes: %w", err)
		}
		interrupted = errors.Join(interrupted, err)
		routes = append(routes, some...)
	}
	// After the routes: a route whose link is not listed any more has gone with it.
	names, err := linkNames(handle)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(routes))
	for _, r := range routes {
		name, ok := names[r.LinkIndex]
		if r.LinkIndex != 0 && !ok || strings.HasPrefix(name, mesh.PodLinkPrefix) {
			continue
		}
		e, err := found(r, name)
		if err != nil {
			return nil, fmt.Errorf("listing routes: %w", err)
		}
		entries = append(entries, e)
	}
	if interrupted != nil {
		return entries, fmt.Errorf("listing routes: %w", interrupted)
	}
	return entries, nil
}

// dumpRoutes is RouteListFiltered, but gives what was read of an interrupted dump too.
func dumpRoutes(handle *netlink.Handle, family int) ([]netlink.Route, error) {
	var routes []netlink.Route
	filter := &netlink.Route{Protocol: mesh.RouteProtocol, Table: unix.RT_TABLE_UNSPEC} // of all tables
	err := handle.RouteListFilteredIter(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		if r.Table == unix.RT_TABLE_MAIN || r.Table == mesh.MigrationTable {
			routes = append(routes, r)
		}
		return true
	})
	return routes, err
}

// linkNames maps the indexes of all links to their names.
func linkNames(handle *netlink.Handle) (map[int]string, error) {
	links, err := dump.Undisturbed(handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, nil
}
