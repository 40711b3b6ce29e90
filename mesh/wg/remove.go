package wg

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

// Remove takes every lane away from the calling thread's network namespace: the links that have mesh.LaneAlias, with all their
// addresses and routes, and with them the tunnel processes and their sockets. A stale socket of one of the given lanes goes even
// where its link is gone already. It returns the names of the links that it removed, and goes on after an error.
func Remove(lanes ...string) (removed []string, err error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink socket: %w", err)
	}
	defer handle.Close()
	links, err := dump.Undisturbed(handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	var errs []error
	for _, link := range links {
		if link.Attrs().Alias != mesh.LaneAlias {
			continue
		}
		if err := removeLink(handle, link); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, link.Attrs().Name)
	}
	for _, name := range lanes {
		errs = append(errs, removeDead(name))
	}
	return removed, errors.Join(append(errs, tunnel.RemoveDirectory())...)
}

// removeDead removes the interface's socket if nobody listens on it.
func removeDead(iface string) error {
	found, err := find(iface)
	if err != nil || found != (socket{}) {
		return err
	}
	return removeStale(tunnel.SocketPath(iface))
}
