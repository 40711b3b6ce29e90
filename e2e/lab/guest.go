package lab

import (
	"errors"
	"fmt"
	"net/netip"
)

// Guest is a pod that a container runtime made, as a host: it answers echo, and sockets are opened in it.
type Guest struct{ Host }

// Guest takes in a pod on the node of which pid is a process. Its network namespace stays until Close or the lab's end, also where the pod goes.
func (n *Node) Guest(name string, pid int, addresses []netip.Addr) (*Guest, error) {
	ns, err := namespacesOf(pid)
	if err != nil {
		return nil, fmt.Errorf("entering pod %s on %s: %w", name, n.Name, err)
	}
	g := &Guest{Host{Name: name, Addresses: addresses, ns: ns, bin: n.bin, env: n.env, children: n.children}}
	if g.echo, err = g.serveEcho(); err != nil {
		return nil, errors.Join(fmt.Errorf("entering pod %s on %s: %w", name, n.Name, err), ns.Close())
	}
	n.lab.closers.add(g)
	return g, nil
}

// Close ends the echo service and lets the pod's namespaces go. A second call does nothing.
func (g *Guest) Close() error { return errors.Join(g.echo.Close(), g.ns.Close()) }
