package route

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
)

var ruleFamilies = []int{netlink.FAMILY_V4, netlink.FAMILY_V6}

// addRules has mesh.MigrationTable asked before the main table in the families of the routes that are to be in it. mu is held.
func (r *Router) addRules(routes []*mesh.Route) error {
	if err := r.loadRules(); err != nil {
		return err
	}
	for _, route := range routes {
		family := familyOf(route.Destination)
		if route.Table != mesh.MigrationTable || r.ruled[family] {
			continue
		}
		r.onMessage(1)
		if err := r.paths.handle.RuleAdd(migrationRule(family)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("adding the rule for table %d: %w", mesh.MigrationTable, err)
		}
		r.ruled[family] = true
	}
	return nil
}

// removeRules takes it away from families in which nothing is in that table. mu is held.
func (r *Router) removeRules() error {
	if len(r.ruled) == 0 {
		return nil
	}
	used := map[int]bool{}
	for slot := range r.held {
		if slot.table == mesh.MigrationTable {
			used[familyOf(slot.destination)] = true
		}
	}
	var errs []error
	for family := range r.ruled {
		if used[family] {
			continue
		}
		r.onMessage(1)
		if err := r.paths.handle.RuleDel(migrationRule(family)); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("removing the rule for table %d: %w", mesh.MigrationTable, err))
			continue
		}
		delete(r.ruled, family)
	}
	return errors.Join(errs...)
}

func familyOf(p netip.Prefix) int {
	if p.Addr().Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func (r *Router) loadRules() error {
	if r.ruled != nil {
		return nil
	}
	rules, err := listRules(r.paths.handle)
	if err != nil {
		return err
	}
	r.ruled = map[int]bool{}
	for _, rule := range rules {
		r.ruled[rule.Family] = true
	}
	return nil
}

func migrationRule(family int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Table, rule.Priority, rule.Protocol = family, mesh.MigrationTable, mesh.MigrationPriority, mesh.RouteProtocol
	return rule
}

// listRules lists those of ours. The handle is without strict checks: netlink asks for rules by a header that is another message's.
func listRules(handle *netlink.Handle) (ours []netlink.Rule, err error) {
	for _, family := range ruleFamilies {
		rules, err := dump.Undisturbed(func() ([]netlink.Rule, error) { return handle.RuleList(family) })
		if err != nil {
			return nil, fmt.Errorf("listing rules: %w", err)
		}
		for _, rule := range rules {
			if rule.Protocol == mesh.RouteProtocol {
				ours = append(ours, rule)
			}
		}
	}
	return ours, nil
}

func removeRules() (removed []string, err error) {
	handle, err := dial()
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	rules, err := listRules(handle)
	errs := []error{err}
	for _, rule := range rules {
		if err := handle.RuleDel(&rule); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("removing rule %d: %w", rule.Priority, err))
			continue
		}
		removed = append(removed, fmt.Sprintf("rule %d: lookup %d", rule.Priority, rule.Table))
	}
	return removed, errors.Join(errs...)
}

// Migrated are the prefixes to which there are routes that win over another network's.
func (r *Router) Migrated() (prefixes []netip.Prefix, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries, err := r.list()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	for _, e := range entries {
		if e.Migrating() {
			prefixes = append(prefixes, e.Destination)
		}
	}
	return prefixes, err
}
