package podnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
)

// A pod's further interfaces have a routing table each, from firstTable on by the link's index, and a rule of rulePriority for each of
// their addresses: what has an address leaves by the interface that the address is of, else the guard would take it for spoofed.
const (
	firstTable   = 8700
	rulePriority = 8700
)

// setGateway makes the host's end the way of what comes from these addresses, all of the gateway's family: by the pod's default route
// or, where another interface has that, by a table of its own. Without an address of the family, no way is left.
func (e *end) setGateway(index int, gateway netip.Addr, from []netip.Addr, mac net.HardwareAddr) error {
	if len(from) == 0 {
		return e.removeGateway(index, gateway)
	}
	if err := e.NeighSet(neighbour(index, gateway, mac)); err != nil {
		return fmt.Errorf("setting neighbour %s: %w", gateway, err)
	}
	taken, err := e.defaultTaken(index, gateway)
	if err != nil {
		return err
	}
	route := gatewayRoute(index, gateway)
	if taken {
		route.Table = firstTable + index
		if err := e.setRules(route.Table, from); err != nil {
			return err
		}
	}
	route.Protocol = unix.RTPROT_BOOT
	if err := e.RouteReplace(route); err != nil {
		return fmt.Errorf("setting default route by %s: %w", gateway, err)
	}
	return nil
}

func (e *end) removeGateway(index int, gateway netip.Addr) error {
	if err := e.RouteDel(gatewayRoute(index, gateway)); err != nil && !absent(err) {
		return fmt.Errorf("removing default route by %s: %w", gateway, err)
	}
	return nil
}

func gatewayRoute(index int, gateway netip.Addr) *netlink.Route {
	return &netlink.Route{
		Dst: defaultNet(gateway), Gw: gateway.AsSlice(), LinkIndex: index, Flags: int(netlink.FLAG_ONLINK),
		Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST,
	}
}

// defaultTaken says whether another link has the default route of a gateway's family.
func (e *end) defaultTaken(index int, gateway netip.Addr) (bool, error) {
	routes, err := dump.Undisturbed(func() ([]netlink.Route, error) {
		return e.RouteListFiltered(family(gateway), &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return false, fmt.Errorf("listing the pod's routes: %w", err)
	}
	return slices.ContainsFunc(routes, func(r netlink.Route) bool {
		return r.LinkIndex != index && r.Type == unix.RTN_UNICAST && (r.Dst == nil || r.Dst.IP.IsUnspecified())
	}), nil
}

// setRules sends what comes from these addresses to a table, and to none of an interface that was there before.
func (e *end) setRules(table int, from []netip.Addr) error {
	rules, err := e.rules(family(from[0]))
	if err != nil {
		return fmt.Errorf("listing the pod's rules: %w", err)
	}
	missing := slices.Clone(from)
	var errs []error
	for _, r := range rules {
		if r.Priority != rulePriority || r.Src == nil {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Src.IP)
		switch wanted := ok && slices.Contains(from, a); {
		case wanted && r.Table == table:
			missing = slices.DeleteFunc(missing, func(m netip.Addr) bool { return m == a })
		case wanted || r.Table == table:
			if err := e.RuleDel(&r); err != nil && !absent(err) {
				errs = append(errs, fmt.Errorf("removing rule from %s: %w", a, err))
			}
		}
	}
	for _, a := range missing {
		rule := netlink.NewRule()
		rule.Family, rule.Src, rule.Table, rule.Priority = family(a), hostNet(a), table, rulePriority
		if err := e.RuleAdd(rule); err != nil {
			errs = append(errs, fmt.Errorf("adding rule from %s: %w", a, err))
		}
	}
	return errors.Join(errs...)
}

// rules lists those of a family. netlink asks for them by a header that is another message's, which strict checks refuse.
func (e *end) rules(family int) ([]netlink.Rule, error) {
	return unchecked(e, func() ([]netlink.Rule, error) { return e.RuleList(family) })
}

// unchecked dumps without strict checks.
func unchecked[T any](e *end, list func() ([]T, error)) ([]T, error) {
	if err := e.SetStrictCheck(false); err != nil {
		return nil, err
	}
	items, err := dump.Undisturbed(list)
	return items, errors.Join(err, e.SetStrictCheck(true))
}

// family is netlink's number for the family of an address.
func family(a netip.Addr) int {
	if a.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}
