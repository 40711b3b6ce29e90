package route

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
)

// SetProxies has the node answer for exactly these addresses, of all that are in the prefixes, on the bridges among these links
// (mesh.NamesLink): pods on a bridge take all of the node's pod CIDR for neighbours, also the pods that are not on it. The entries go with
// their bridge.
func (r *Router) SetProxies(links []string, within []netip.Prefix, addrs []netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, err := dump.Undisturbed(r.handle.LinkList)
	if err != nil {
		return fmt.Errorf("listing links: %w", err)
	}
	var errs []error
	for _, link := range all {
		if link.Type() == "bridge" && mesh.NamesLink(links, link.Attrs().Name) {
			errs = append(errs, r.setProxies(link, within, addrs))
		}
	}
	return errors.Join(errs...)
}

func (r *Router) setProxies(link netlink.Link, within []netip.Prefix, addrs []netip.Addr) error {
	name := link.Attrs().Name
	held, err := listProxies(r.paths.handle, link.Attrs().Index)
	if err != nil {
		return err
	}
	var errs []error
	if slices.ContainsFunc(addrs, netip.Addr.Is6) {
		errs = append(errs, r.enable(filepath.Join(conf6, name, "proxy_ndp"), func() error { return nil }))
	}
	if len(addrs) > 0 {
		errs = append(errs, r.answerAtOnce(name))
	}
	for _, a := range addrs {
		if slices.Contains(held, a) {
			continue
		}
		r.onMessage(1)
		if err := r.handle.NeighSet(proxy(link.Attrs().Index, a)); err != nil {
			errs = append(errs, fmt.Errorf("answering for %s on %s: %w", a, name, err))
		}
	}
	for _, a := range held {
		of := func(p netip.Prefix) bool { return p.Contains(a) }
		if slices.Contains(addrs, a) || !slices.ContainsFunc(within, of) {
			continue
		}
		r.onMessage(1)
		if err := r.handle.NeighDel(proxy(link.Attrs().Index, a)); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("answering for %s on %s no more: %w", a, name, err))
		}
	}
	return errors.Join(errs...)
}

// proxyDelays are files with how long the kernel waits before it answers for others, some 0.8 s, by family.
var proxyDelays = []string{"/proc/sys/net/ipv4/neigh/%s/proxy_delay", "/proc/sys/net/ipv6/neigh/%s/proxy_delay"}

// answerAtOnce has the kernel not wait for whoever else might answer: nobody does.
func (r *Router) answerAtOnce(link string) error {
	var errs []error
	for _, file := range proxyDelays {
		path := fmt.Sprintf(file, link)
		delay, err := readSysctl(path)
		if err == nil && delay != "0" {
			r.onMessage(1)
			err = setSysctl(path, "0")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// answerAsOthers undoes answerAtOnce.
func answerAsOthers(link string) error {
	var errs []error
	for _, file := range proxyDelays {
		usual, err := readSysctl(fmt.Sprintf(file, "lo"))
		if err == nil {
			err = setSysctl(fmt.Sprintf(file, link), usual)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func proxy(index int, a netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: index, IP: a.AsSlice(), Flags: netlink.NTF_PROXY}
}

// listProxies lists the addresses for which the node answers on a link, or on all where index is 0.
func listProxies(handle *netlink.Handle, index int) (addrs []netip.Addr, err error) {
	for _, family := range ruleFamilies {
		neighbours, err := dump.Undisturbed(func() ([]netlink.Neigh, error) { return handle.NeighProxyList(index, family) })
		if err != nil {
			return nil, fmt.Errorf("listing what is answered for: %w", err)
		}
		for _, n := range neighbours {
			if a, ok := netip.AddrFromSlice(n.IP); ok && n.LinkIndex == index {
				addrs = append(addrs, a.Unmap())
			}
		}
	}
	return addrs, nil
}

// removeProxies takes away what SetProxies made for the pods that we route to.
func removeProxies(handle *netlink.Handle) (removed []string, err error) {
	plain, err := dial()
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	ours := map[netip.Addr]bool{}
	for _, family := range ruleFamilies {
		routes, err := dump.Undisturbed(func() ([]netlink.Route, error) { return dumpRoutes(handle, family) })
		if err != nil {
			return nil, fmt.Errorf("listing routes: %w", err)
		}
		for _, route := range routes {
			if p, err := prefix(route.Dst); err == nil && p.IsSingleIP() {
				ours[p.Addr()] = true
			}
		}
	}
	links, err := dump.Undisturbed(handle.LinkList)
	errs := []error{err}
	for _, link := range links {
		if link.Type() != "bridge" {
			continue
		}
		name, index := link.Attrs().Name, link.Attrs().Index
		held, err := listProxies(plain, index)
		errs = append(errs, err)
		some, six := false, false
		for _, a := range held {
			if !ours[a] {
				continue
			}
			some, six = true, six || a.Is6()
			if err := handle.NeighDel(proxy(index, a)); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("answering for %s on %s no more: %w", a, name, err))
				continue
			}
			removed = append(removed, fmt.Sprintf("proxy for %s on %s", a, name))
		}
		if six {
			errs = append(errs, setSysctl(filepath.Join(conf6, name, "proxy_ndp"), "0"))
		}
		if some {
			errs = append(errs, answerAsOthers(name))
		}
	}
	return removed, errors.Join(errs...)
}
