package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Snapshot keeps a copy of the store as it is, for Restore. The API server is away meanwhile.
func (c *Cluster) Snapshot(ctx context.Context) error {
	return c.withStoreStopped(ctx, "taking a snapshot", func() error {
		return replaceFolder(c.path("etcd-snapshot"), c.path("etcd"))
	})
}

// Restore brings the store back to what it was at the last Snapshot, as an administrator would after a disaster: everything stops
// meanwhile. Objects and resource versions are those of then.
func (c *Cluster) Restore(ctx context.Context) error {
	return c.withStoreStopped(ctx, "restoring a snapshot", func() error {
		return replaceFolder(c.path("etcd"), c.path("etcd-snapshot"))
	})
}

func (c *Cluster) withStoreStopped(ctx context.Context, doing string, do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.etcd == nil {
		return fmt.Errorf("%s: the control plane is stopped", doing)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := errors.Join(c.controllerManager.kill(), c.apiServer.kill(), c.etcd.kill())
	for _, step := range []func() error{
		do,
		func() error { return c.startEtcd(ctx) },
		func() error { return c.startAPIServer(ctx) },
		func() error { return c.startControllerManager(ctx) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// replaceFolder makes a folder a copy of another.
func replaceFolder(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
