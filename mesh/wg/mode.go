package wg

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// Mode says which implementation of WireGuard is used.
type Mode string

const (
	// Auto is what a device of ours already is, else the kernel's WireGuard where there is one, else the userspace one.
	Auto Mode = "auto"
	// Kernel is the kernel's WireGuard; it is an error where there is none.
	Kernel Mode = "kernel"
	// Userspace is the embedded wireguard-go in a process of its own.
	Userspace Mode = "userspace"
)

// bareName is the name that a kernel device has until its alias says whose it is. A link of this name is a leftover of ours.
const bareName = "warren.new"

// Probe says whether the kernel has WireGuard, by making a link of that type in the calling thread's network namespace and
// removing it. This also loads the module, where the kernel may do so.
func Probe() (kernel bool, err error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return false, fmt.Errorf("opening rtnetlink socket: %w", err)
	}
	defer links.Close()
	link, err := addBare(links)
	if errors.Is(err, unix.EOPNOTSUPP) { // no such type of link
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("probing for the kernel's WireGuard: %w", err)
	}
	if err := links.LinkDel(link); err != nil {
		return true, fmt.Errorf("removing the probe's link: %w", err)
	}
	return true, nil
}

// addKernelLink makes a kernel device. It gets its name last, so that no link of that name is ever without our alias, wherever
// we are killed.
func addKernelLink(links *netlink.Handle, name string) error {
	link, err := addBare(links)
	if err != nil {
		return fmt.Errorf("creating link %s: %w", name, err)
	}
	if err := links.LinkSetAlias(link, mesh.LaneAlias); err != nil {
		return errors.Join(fmt.Errorf("setting the alias of link %s: %w", name, err), links.LinkDel(link))
	}
	if err := links.LinkSetName(link, name); err != nil {
		return errors.Join(fmt.Errorf("naming link %s: %w", name, err), links.LinkDel(link))
	}
	return nil
}

// addBare makes a kernel device under the name for unfinished ones, in the place of a leftover.
func addBare(links *netlink.Handle) (netlink.Link, error) {
	link := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: bareName}}
	err := links.LinkAdd(link)
	if errors.Is(err, unix.EEXIST) {
		leftover, lerr := links.LinkByName(bareName)
		if lerr != nil {
			return nil, errors.Join(err, lerr)
		}
		if leftover.Type() != link.Type() {
			return nil, fmt.Errorf("link %s exists with type %s: %w", bareName, leftover.Type(), err)
		}
		if err := links.LinkDel(leftover); err != nil {
			return nil, fmt.Errorf("removing leftover link %s: %w", bareName, err)
		}
		err = links.LinkAdd(link)
	}
	if err != nil {
		return nil, err
	}
	return links.LinkByName(bareName)
}
