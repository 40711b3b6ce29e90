package lab

import (
	"errors"
	"fmt"
)

// Reboot takes from a node what a reboot takes: every process of it and of its pods, the pods, and all that its kernel held (links,
// addresses, routes, rules, sockets, /run). Its state folder stays, and what its kubelet knows, its cable is plugged in again with the addresses that it had,
// and its agent is left to be started. Nothing else may use the node meanwhile.
func (l *Lab) Reboot(n *Node) error {
	if err := n.halt(); err != nil {
		return fmt.Errorf("halting %s: %w", n.Name, err)
	}
	if err := n.boot(); err != nil {
		return fmt.Errorf("booting %s: %w", n.Name, err)
	}
	return l.saveState()
}

// halt ends the node's processes and its pods, and pulls its cable; with the last of them and our files its namespaces go.
func (n *Node) halt() error {
	errs := []error{n.KillAgent(), n.killAll()}
	for _, p := range n.Pods() {
		p.leave()
		errs = append(errs, p.echo.Close(), p.ns.Close())
	}
	n.lab.mu.Lock()
	n.pods = nil
	n.lab.mu.Unlock()
	return errors.Join(append(errs, unplug(n.lab.Switch(), n.Name), n.echo.Close(), n.ns.Close())...)
}
