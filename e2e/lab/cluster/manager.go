package cluster

import (
	"context"
	"errors"
	"fmt"
)

// RestartControllerManager starts the controller-manager anew, and returns when it gives out pod CIDRs. After an outage of the API
// server the old one may wait for a minute before it looks again.
func (c *Cluster) RestartControllerManager(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.etcd == nil {
		return errors.New("restarting the controller-manager: the control plane is stopped")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.controllerManager.kill()
	if err == nil {
		err = c.startControllerManager(ctx)
	}
	if err != nil {
		return fmt.Errorf("restarting the controller-manager: %w", err)
	}
	return nil
}
