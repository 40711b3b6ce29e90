package podnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
)

const (
	// requestTimeout ends a netlink request that the kernel does not answer.
	requestTimeout = 30 * time.Second
	// awaitTimeout is how long a new wire may take until it carries packets; on an idle node it takes less than a millisecond.
	awaitTimeout  = 5 * time.Second
	awaitInterval = 200 * time.Microsecond
)

// end is one end's network namespace, by a netlink socket.
type end struct{ *netlink.Handle }

// newEnd opens a socket in the current network namespace.
func newEnd() (*end, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink socket: %w", err)
	}
	if err := handle.SetSocketTimeout(requestTimeout); err != nil {
		handle.Close()
		return nil, fmt.Errorf("setting time-out of rtnetlink socket: %w", err)
	}
	// With strict checks the kernel itself filters a dump of routes by link and protocol.
	if err := handle.SetStrictCheck(true); err != nil {
		handle.Close()
		return nil, fmt.Errorf("asking rtnetlink for strict checks: %w", err)
	}
	return &end{handle}, nil
}

// former finds the pair that has the name, and says whether it is the one that is wanted. It gives the index of the host's end; 0 for none.
func (e *end) former(s Spec, result Result, pod *Sandbox) (index int, same bool, err error) {
	want := alias(s.Namespace, s.Name)
	link, err := e.findAny(result.HostLink, want)
	if err != nil || link == nil {
		return 0, false, err
	}
	if !retired(link) {
		if err := pod.do(func() (err error) { same, err = isPeer(s.Interface, link); return err }); err != nil {
			return 0, false, err
		}
	}
	return link.Attrs().Index, same && link.Attrs().Alias == want, nil
}

// find gives the host's end, nil if there is none, or one that was retired.
func (e *end) find(name, alias string) (netlink.Link, error) {
	link, err := e.findAny(name, alias)
	if err != nil || link == nil || retired(link) {
		return nil, err
	}
	return link, nil
}

// findAny gives the host's end even where it was retired. One without an alias is a torso that an interrupted Attach left.
func (e *end) findAny(name, alias string) (netlink.Link, error) {
	link, err := e.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finding link %s: %w", name, err)
	}
	if a := link.Attrs().Alias; link.Type() != "veth" || a != "" && a != alias {
		return nil, fmt.Errorf("finding link %s: it is somebody else's, a %s with alias %q", name, link.Type(), a)
	}
	return link, nil
}

// isPeer says whether the interface of that name in the current namespace is the other end of host.
func isPeer(name string, host netlink.Link) (bool, error) {
	e, err := newEnd()
	if err != nil {
		return false, err
	}
	defer e.Close()
	link, err := e.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("finding link %s in the pod: %w", name, err)
	}
	a, b := link.Attrs(), host.Attrs()
	return link.Type() == "veth" && a.ParentIndex == b.Index && b.ParentIndex == a.Index, nil
}

// awaitCarrier waits until the kernel has noticed that both ends are up: before, it drops what is sent. From Linux 6.8 on the
// first look makes it notice.
func (e *end) awaitCarrier(index int) error {
	return await("carrier", func() (bool, error) {
		link, err := e.LinkByIndex(index)
		return err == nil && link.Attrs().OperState == netlink.OperUp, err
	})
}

// awaitLocal waits until the kernel takes in what comes for these addresses of a link. It enters an IPv6 address into the
// table of local routes later, by a work queue, even where it does no duplicate address detection.
func (e *end) awaitLocal(index int, addrs ...netip.Addr) error {
	filter := &netlink.Route{LinkIndex: index, Table: unix.RT_TABLE_LOCAL}
	return await("IPv6 addresses", func() (bool, error) {
		routes, err := dump.Undisturbed(func() ([]netlink.Route, error) {
			return e.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		})
		missing := func(a netip.Addr) bool {
			return a.Is6() && !slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Type == unix.RTN_LOCAL && r.Dst.IP.Equal(a.AsSlice()) })
		}
		return err == nil && !slices.ContainsFunc(addrs, missing), err
	})
}

// await asks until the answer is yes.
func await(what string, done func() (bool, error)) error {
	for deadline := time.Now().Add(awaitTimeout); ; time.Sleep(awaitInterval) {
		ok, err := done()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: not there after %v", what, awaitTimeout)
		}
	}
}
