// Package cluster runs a real Kubernetes control plane for the lab: etcd, kube-apiserver and the controllers of
// kube-controller-manager that the mesh depends on. It gives out the credentials that nodes, agents and people have in a
// real cluster: everything is TLS, authorization is Node and RBAC, NodeRestriction is on.
//
// It knows nothing of namespaces: where the programs run is the [Starter]'s matter.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// patience is how long Start waits where the context sets no earlier end. A warm start takes some seconds; the rest is
// for a machine that is busy.
const patience = 2 * time.Minute

// Cluster is a running control plane.
type Cluster struct {
	options Options
	pki     *pki
	admin   *rest.Config
	client  kubernetes.Interface

	mu                                            sync.Mutex // guards the processes: one start or stop at a time
	etcd, apiServer, controllerManager, scheduler *process
}

// Start starts a control plane with an empty store. It returns when the API server is ready, RBAC's bootstrap roles are
// there and Nodes are given pod CIDRs; or, with the part of a log that says why, when a program ends or time is up.
// After an error nothing is left running.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if err := options.complete(); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	c := &Cluster{options: options}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane: %w", err), c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	for _, dir := range []string{c.path("pki"), c.path("log"), c.path("credentials")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(c.path("etcd")); err != nil {
		return err
	}
	var err error
	if c.pki, err = newPKI(c.path("pki"), c.options); err != nil {
		return err
	}
	if err := c.newAdmin(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	if err := c.startControllerManager(ctx); err != nil || c.options.Scheduler == "" {
		return err
	}
	return c.startScheduler(ctx)
}

// Stop ends all programs. What they wrote stays in Dir. A second call does nothing.
//
// They are killed: nothing they could still write would be read again.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := errors.Join(c.scheduler.kill(), c.controllerManager.kill(), c.apiServer.kill(), c.etcd.kill())
	c.scheduler, c.controllerManager, c.apiServer, c.etcd = nil, nil, nil, nil
	return err
}

// StopAPIServer takes the API server away from under everyone, as its crash would. Etcd keeps what it held.
func (c *Cluster) StopAPIServer() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.apiServer.kill()
	c.apiServer = nil
	return err
}

// APIServerRunning says whether the API server runs, ready or not.
func (c *Cluster) APIServerRunning() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.apiServer.running()
}

// StartAPIServer brings it back and returns when it is ready. It does nothing where it runs.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.etcd == nil {
		return errors.New("starting the API server: the control plane is stopped")
	}
	if c.apiServer != nil && c.apiServer.running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.startAPIServer(ctx); err != nil {
		return fmt.Errorf("starting the API server: %w", err)
	}
	return nil
}
