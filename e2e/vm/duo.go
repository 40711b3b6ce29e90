package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
	"github.com/warren-mesh/warren/e2e/vm/job"
)

// duo is a cluster of two machines, whose control plane is in namespaces here.
type duo struct {
	lab    *lab.Lab
	n1, n2 *node
	// to is the address of n2's pod.
	to netip.Addr
}

const (
	duoPods     = "10.244.0.0/16"
	duoServices = "10.96.0.0/16"
)

// withDuo boots the machines, has use do what it does with them, and ends them.
func withDuo(ctx context.Context, o options, k kernel, out io.Writer, use func(*duo) error) (err error) {
	dir, err := os.MkdirTemp("", "warren-vm-")
	if err != nil {
		return fmt.Errorf("making temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := assets.Ensure(ctx, out)
	if err != nil {
		return err
	}
	// The lab's nodes give the machines their Nodes, Pods, addresses and credentials, and do nothing themselves.
	l, err := lab.Start(ctx, lab.Options{
		Name: fmt.Sprintf("duo-%d", os.Getpid()), Nodes: 2, NoAgents: true, Assets: programs, Out: out,
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix(duoPods)}, ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix(duoServices)},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	host, err := startOutsider(ctx, programs, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	host.sessions[""] = &session{lab: l} // the machines' requests name no folder
	d := &duo{lab: l}
	f := files{dir: dir, kernel: k, programs: programs, setup: job.Setup{Host: &job.Host{Port: host.port(), Token: host.token}}}
	if f.setup.Nodes, err = d.nodes(ctx); err != nil {
		return err
	}
	initrd := filepath.Join(dir, "initrd")
	if err := f.write(ctx, initrd); err != nil {
		return fmt.Errorf("making the machines' files: %w", err)
	}
	return d.boot(ctx, machine{dir: dir, kernel: k.image, initrd: initrd, memory: plainMemory, network: true, out: out}, o.accel, host.nodes, use)
}

// nodes are what the machines are to be.
func (d *duo) nodes(ctx context.Context) (map[string]job.Node, error) {
	api := netip.AddrPortFrom(d.lab.Switch().Addresses[0], 6443)
	nodes := map[string]job.Node{}
	for _, n := range d.lab.Nodes() {
		file, err := d.lab.Cluster().AgentKubeconfig(ctx, n.Name)
		if err != nil {
			return nil, err
		}
		kubeconfig, err := os.ReadFile(file) //nolint:gosec // the lab's
		if err != nil {
			return nil, err
		}
		pod, err := n.AddPod(ctx, "p1")
		if err != nil {
			return nil, err
		}
		d.to = pod.Addresses[0] // the last node's stays
		nodes[n.Name] = job.Node{
			Name: n.Name, Underlay: netip.PrefixFrom(n.Addresses[0], 24), API: api, Kubeconfig: string(kubeconfig),
			PodName: pod.ObjectName, Pod: d.to,
		}
	}
	return nodes, nil
}

// boot boots two machines that are like m, with a cable between them, and ends them after use. One alone is no cluster: the end of
// one is the end of both.
func (d *duo) boot(ctx context.Context, m machine, accel string, up <-chan *node, use func(*duo) error) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var machines errgroup.Group
	ends := []string{filepath.Join(m.dir, "cable1"), filepath.Join(m.dir, "cable2")}
	for i, name := range []string{"n1", "n2"} {
		own := m
		own.node, own.dir = name, filepath.Join(m.dir, name)
		own.cable = fmt.Sprintf("dgram,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", ends[i], ends[1-i])
		machines.Go(func() error {
			defer end()
			if err := os.Mkdir(own.dir, 0o700); err != nil {
				return err
			}
			return own.serve(ctx, accel)
		})
	}
	err := d.meet(ctx, up, 2*bootTimeouts[accel]) // they share the processors
	if err == nil {
		err = use(d)
	}
	end()
	return errors.Join(err, machines.Wait())
}

// meet waits for both machines.
func (d *duo) meet(ctx context.Context, up <-chan *node, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for d.n1 == nil || d.n2 == nil {
		select {
		case n := <-up:
			if n.name == "n1" {
				d.n1 = n
			} else {
				d.n2 = n
			}
		case <-ctx.Done():
			return errNotUp
		}
	}
	return nil
}

// logs are what explains a failure.
func (d *duo) logs() string { return d.n1.log() + d.n2.log() }
