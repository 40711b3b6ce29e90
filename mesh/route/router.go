// Package route brings the links' addresses, the routes and the sysctls of the current network namespace to the state that
// the plan wants. The types of netlink stop here.
package route

import (
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// timeout ends a request that the kernel does not answer. A dump of many routes behind a busy RTNL lock is slow, never this slow.
const timeout = 30 * time.Second

// Options are what a Router may be given.
type Options struct {
	// OnMessage is told how many rtnetlink messages that change something were sent, and sysctls written. May be nil.
	OnMessage func(n int)
}

// Router holds lasting netlink sockets in the network namespace of the thread that called New. Its methods may be
// called at the same time by several goroutines.
type Router struct {
	onMessage func(n int)
	paths     *paths

	// mu makes every method one step, and guards held: what one call achieved is what the next one compares with.
	mu     sync.Mutex
	handle *netlink.Handle
	// list reads the plan's routes from the kernel.
	list func() ([]entry, error)
	// held are the plan's routes that the kernel is known to hold; nil when it has to be asked.
	held map[slot]entry
	// settled are the routes of the last Set, where held is exactly these by settledLinks; nil where it may not be.
	settled      []*mesh.Route
	settledLinks map[string]int
	// ruled are the families in which mesh.MigrationTable is asked, as far as known; nil where the kernel has to be.
	ruled map[int]bool
	// own are the removals by this Router that the kernel has not told of yet.
	own removals
}

// New opens a Router in the current network namespace. Close it.
func New(o Options) (*Router, error) {
	handle, err := open()
	if err != nil {
		return nil, err
	}
	lookups, err := dial()
	if err != nil {
		handle.Close()
		return nil, err
	}
	r := &Router{onMessage: o.OnMessage, handle: handle, paths: newPaths(lookups)}
	if r.onMessage == nil {
		r.onMessage = func(int) {}
	}
	r.list = func() ([]entry, error) { return list(handle) }
	return r, nil
}

// Close closes the netlink sockets. What is in the kernel stays.
func (r *Router) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handle.Close()
	r.paths.handle.Close()
}

// Forget drops what is remembered of the kernel's routes: the next Set or Add reads them first. To be called on an Event, and
// for an audit.
func (r *Router) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsettle()
}

// unsettle makes the next Set or Add read the kernel. mu is held.
func (r *Router) unsettle() { r.held, r.settled, r.ruled = nil, nil, nil }

func open() (*netlink.Handle, error) {
	handle, err := dial()
	if err != nil {
		return nil, err
	}
	// With strict checks the kernel itself filters a dump of routes by protocol.
	if err := handle.SetStrictCheck(true); err != nil {
		handle.Close()
		return nil, fmt.Errorf("asking rtnetlink for strict checks: %w", err)
	}
	return handle, nil
}

func dial() (*netlink.Handle, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink socket: %w", err)
	}
	if err := handle.SetSocketTimeout(timeout); err != nil {
		handle.Close()
		return nil, fmt.Errorf("setting time-out of rtnetlink socket: %w", err)
	}
	return handle, nil
}
