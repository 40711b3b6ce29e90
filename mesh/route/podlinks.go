package route

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// PodLinks leaves out of these names (mesh.NamesLink) those that stand for a link which leads elsewhere than to pods: one with an address
// outside the cluster's pod CIDRs, as the node's way to the world has. The error names it. Such a link may come at any time.
func (r *Router) PodLinks(names []string, cluster []netip.Prefix) (sound []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	held, err := r.addresses()
	if err != nil {
		return nil, err
	}
	byIndex, err := linkNames(r.handle)
	if err != nil {
		return nil, err
	}
	sound = slices.Clone(names)
	var errs []error
	for _, addr := range slices.SortedFunc(maps.Keys(held), netip.Addr.Compare) {
		if addr.IsLinkLocalUnicast() || slices.ContainsFunc(cluster, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			continue
		}
		for _, index := range held[addr] {
			leads := func(name string) bool { return mesh.NamesLink([]string{name}, byIndex[index]) }
			if slices.ContainsFunc(names, leads) {
				sound = slices.DeleteFunc(sound, leads)
				errs = append(errs, fmt.Errorf("link %s is among %q and has the address %s, which is of no pod CIDR: want links that lead to pods only",
					byIndex[index], names, addr))
			}
		}
	}
	return sound, errors.Join(errs...)
}

// LinkTo names the link by which the kernel sends to an address of another host's, or of a pod's.
func (r *Router) LinkTo(addr netip.Addr) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	routes, err := r.paths.handle.RouteGet(addr.AsSlice())
	if err != nil {
		return "", fmt.Errorf("finding the way to %s: %w", addr, err)
	}
	if len(routes) != 1 || routes[0].Type != unix.RTN_UNICAST {
		return "", fmt.Errorf("finding the way to %s: it is this node's own, or there is none", addr)
	}
	link, err := r.handle.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", fmt.Errorf("finding the way to %s: finding its link: %w", addr, err)
	}
	return link.Attrs().Name, nil
}
