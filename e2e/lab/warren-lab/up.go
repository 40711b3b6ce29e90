package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/warren-mesh/warren/e2e/lab"
)

// upOptions are what `up` can be told.
type upOptions struct {
	lab                lab.Options
	families, underlay string
	pods               int
	foreground         bool
}

func (o *upOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.lab.Name, "name", lab.DefaultName, "name of the lab")
	fs.IntVar(&o.lab.Nodes, "nodes", 3, "number of nodes")
	fs.IntVar(&o.pods, "pods", 2, "number of pods on each node")
	fs.StringVar(&o.families, "families", string(lab.Dual), "addresses of the pods: ipv4, ipv6 or dual")
	fs.StringVar(&o.underlay, "underlay", string(lab.IPv4), "addresses of the nodes: ipv4, ipv6 or dual")
	fs.StringVar(&o.lab.WireGuard, "wireguard", "auto", "the agents' --wireguard: auto, kernel or userspace")
	fs.IntVar(&o.lab.UnderlayMTU, "mtu", 1500, "MTU of the underlay, in bytes")
	fs.BoolVar(&o.lab.StrictRPFilter, "strict-rp-filter", false, "strict reverse-path filter on the nodes")
	fs.BoolVar(&o.lab.NoAgents, "no-agents", false, "start no agents")
	fs.BoolVar(&o.foreground, "foreground", false, "stay, and end the lab on Ctrl-C")
}

func newUp() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a lab: control plane, nodes, agents, pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.lab.PodFamilies, o.lab.UnderlayFamilies = lab.Families(o.families), lab.Families(o.underlay)
			o.lab.Out = cmd.OutOrStdout()
			if o.foreground {
				return o.serve(cmd.Context())
			}
			return o.detach(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// serve is the lab's owner: it lives as long as the lab.
func (o *upOptions) serve(ctx context.Context) error {
	l, err := lab.Start(ctx, o.lab)
	if err != nil {
		return err
	}
	for _, n := range l.Nodes() {
		for i := range o.pods {
			if _, err := n.AddPod(ctx, fmt.Sprintf("p%d", i+1)); err != nil {
				return errors.Join(err, l.Close())
			}
		}
	}
	fmt.Fprintln(o.lab.Out, settled)
	<-ctx.Done()
	return l.Close()
}

// settled is the last line that the owner writes before it only waits.
const settled = "Ctrl-C or `warren-lab down` ends it."

// detach starts the owner in the background and shows what it says until the lab is up.
func (o *upOptions) detach(ctx context.Context, out io.Writer) error {
	if err := os.MkdirAll(lab.Base(), 0o700); err != nil {
		return err
	}
	path := filepath.Join(lab.Base(), o.lab.Name+".log")
	if _, err := lab.LoadState(o.lab.Name); err == nil {
		if _, err := lab.Sweep(); err != nil { // it may be a dead one
			return err
		}
		if _, err := lab.LoadState(o.lab.Name); err == nil {
			return fmt.Errorf("lab %s is up already: `warren-lab down --name %s` ends it", o.lab.Name, o.lab.Name)
		}
		if err := os.MkdirAll(lab.Base(), 0o700); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // of the lab of that name
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	owner := exec.CommandContext(context.WithoutCancel(ctx), self, append(os.Args[1:], "--foreground")...) //nolint:gosec // ourselves
	owner.Stdout, owner.Stderr = log, log
	owner.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := owner.Start(); err != nil {
		return fmt.Errorf("starting the lab's owner: %w", err)
	}
	return o.follow(ctx, owner, path, out)
}

// follow copies the owner's log to out until the lab is up. If the owner ends before, or we are told to end, it is over.
func (o *upOptions) follow(ctx context.Context, owner *exec.Cmd, path string, out io.Writer) error {
	log, err := os.Open(path) //nolint:gosec // detach made it
	if err != nil {
		return err
	}
	defer log.Close()
	ended := make(chan error, 1)
	go func() { ended <- owner.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	w := &watcher{out: out}
	for {
		if _, err := io.Copy(w, log); err != nil {
			return err
		}
		if w.settled {
			return nil
		}
		select {
		case err := <-ended:
			_, copyErr := io.Copy(w, log)
			return errors.Join(fmt.Errorf("the lab did not come up: %w", err), copyErr, os.Remove(path))
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), owner.Process.Signal(syscall.SIGTERM), <-ended, os.Remove(path))
		case <-tick.C:
		}
	}
}
