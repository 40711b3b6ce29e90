package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
)

// Reboot takes from a node what a reboot takes: every process, the pods' sandboxes and all that its kernel held. Its disk stays, and its programs start
// anew.
func (c *Cluster) Reboot(ctx context.Context, n *lab.Node) error {
	err := c.halt(n)
	if err == nil {
		_, err = node.MakeCgroups(c.options.Name, n.Name)
	}
	if err == nil {
		err = c.bootNode(ctx, n)
	}
	if err == nil {
		_, err = n.Run(ctx, "touch", imported) // they are on the disk
	}
	if err != nil {
		return fmt.Errorf("rebooting %s: %w", n.Name, err)
	}
	c.say("%s: rebooted", n.Name)
	return nil
}

// Replace puts another machine in a node's place, with its name and addresses and an empty disk.
func (c *Cluster) Replace(ctx context.Context, n *lab.Node) error {
	err := c.halt(n)
	if err == nil {
		err = os.RemoveAll(c.root(n.Name))
	}
	if err == nil {
		err = c.startNode(ctx, n)
	}
	if err != nil {
		return fmt.Errorf("replacing %s: %w", n.Name, err)
	}
	c.say("%s: replaced", n.Name)
	return nil
}

// halt ends a node's processes, and leaves one that has booted and runs nothing.
func (c *Cluster) halt(n *lab.Node) error {
	return errors.Join(c.Lab.Reboot(n), node.RemoveNodeCgroups(c.options.Name, n.Name))
}
