package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
)

// Remove takes from the current network namespace every link whose alias begins with mesh.LinkAlias, every route of protocol
// mesh.RouteProtocol, in whichever table, every rule of it, and what SetProxies made for the pods of those routes, and nothing else. It says what it removed, one line each; routes that went with
// their link are not told. One error does not stop the rest; all are joined.
func Remove() (removed []string, err error) {
	handle, err := open()
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	// The links first: while the unreachable routes are there, what was on its way to a lane goes nowhere else.
	proxies, err1 := removeProxies(handle)
	links, err2 := removeLinks(handle)
	routes, err3 := removeRoutes(handle)
	rules, err4 := removeRules()
	return slices.Concat(proxies, links, routes, rules), errors.Join(err1, err2, err3, err4)
}

func removeLinks(handle *netlink.Handle) (removed []string, err error) {
	links, err := dump.Undisturbed(handle.LinkList)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	errs := []error{err}
	for _, l := range links {
		alias := l.Attrs().Alias
		if !strings.HasPrefix(alias, mesh.LinkAlias) {
			continue
		}
		switch err := handle.LinkDel(l); {
		case errors.Is(err, unix.ENODEV): // went with its peer
		case err != nil:
			errs = append(errs, fmt.Errorf("removing link %s: %w", l.Attrs().Name, err))
		default:
			removed = append(removed, fmt.Sprintf("link %s (%s)", l.Attrs().Name, alias))
		}
	}
	return removed, errors.Join(errs...)
}

func removeRoutes(handle *netlink.Handle) (removed []string, err error) {
	names, err := linkNames(handle)
	errs := []error{err}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{Protocol: mesh.RouteProtocol}
		routes, err := dump.Undisturbed(func() (routes []netlink.Route, err error) {
			err = handle.RouteListFilteredIter(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE,
				func(r netlink.Route) bool { routes = append(routes, r); return true })
			return routes, err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("listing routes: %w", err))
		}
		for _, route := range routes {
			e, err := found(route, names[route.LinkIndex])
			if err != nil {
				errs = append(errs, err)
				continue
			}
			route.Flags = 0 // the link's state, which no request may have
			switch err := handle.RouteDel(&route); {
			case errors.Is(err, unix.ESRCH):
			case err != nil:
				errs = append(errs, fmt.Errorf("removing route %s: %w", e, err))
			default:
				removed = append(removed, "route "+e.String())
			}
		}
	}
	return removed, errors.Join(errs...)
}
