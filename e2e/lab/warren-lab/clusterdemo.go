package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/warren-mesh/warren/e2e/cluster"
	"github.com/warren-mesh/warren/e2e/lab"
)

func newClusterDemo() *cobra.Command {
	d := &clusterDemo{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Install Warren by kubectl on three nodes and show it at work; on a terminal the cluster stays up until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.screen = screen{cmd.OutOrStdout(), term.IsTerminal(int(os.Stdout.Fd()))}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.options.Name, "name", cluster.DefaultName, "name of the cluster")
	return cmd
}

// clusterDemo is a cluster that is being shown.
type clusterDemo struct {
	screen
	options  cluster.Options
	manifest string
	cluster  *cluster.Cluster
	capture  *lab.Capture
}

// run succeeds only if everything that it shows is right.
func (d *clusterDemo) run(ctx context.Context) (err error) {
	defer func() {
		if d.cluster != nil {
			err = errors.Join(err, d.cluster.Close())
		}
	}()
	for _, show := range []func(context.Context) error{d.start, d.install, d.pods, d.service, d.wg, d.wire} {
		if err := show(ctx); err != nil {
			return err
		}
	}
	if !d.bold {
		d.say("everything above was as it should be")
		return nil
	}
	fmt.Fprintf(d.out, "\nThe cluster stays up until Ctrl-C. In another terminal, try:\n\n  export KUBECONFIG=%s\n  %s get pods -A -o wide\n",
		d.cluster.Kubeconfig(), d.cluster.Kubectl())
	<-ctx.Done()
	return nil
}

// start brings up nodes without a network, with the capture on and proven.
func (d *clusterDemo) start(ctx context.Context) error {
	d.say("three nodes on this machine, each with containerd, kubelet and kube-proxy, and no network yet")
	root, err := lab.Repository()
	if err != nil {
		return err
	}
	d.manifest = filepath.Join(root, "manifests", "warren.yaml")
	d.options.Nodes, d.options.CNI, d.options.Manifests, d.options.Out = 3, cluster.None, []string{d.manifest}, d.out
	if d.cluster, err = cluster.Start(ctx, d.options); err != nil {
		return err
	}
	if d.capture, err = d.cluster.Lab.Capture(ctx); err != nil {
		return err
	}
	for _, n := range d.cluster.Lab.Nodes() {
		if err := d.capture.Control(ctx, n); err != nil {
			return err
		}
	}
	text, err := d.kubectl(ctx, "get", "nodes")
	if ready := strings.Count(text, " Ready "); err == nil && ready > 0 {
		err = fmt.Errorf("%d nodes are Ready without a network", ready)
	}
	return err
}

func (d *clusterDemo) install(ctx context.Context) error {
	if _, err := d.kubectl(ctx, "apply", "-f", d.manifest); err != nil {
		return err
	}
	if err := d.cluster.Settle(ctx); err != nil {
		return err
	}
	text, err := d.kubectl(ctx, "get", "nodes", "-o", "wide")
	if ready := strings.Count(text, " Ready "); err == nil && ready != 3 {
		err = fmt.Errorf("%d of 3 nodes are Ready", ready)
	}
	return err
}

func (d *clusterDemo) pods(ctx context.Context) error {
	text, err := d.kubectl(ctx, "get", "pods", "-A", "-o", "wide")
	if running := strings.Count(text, " Running "); err == nil && running != 9 {
		err = fmt.Errorf("%d pods are Running, want 3 on each node", running)
	}
	return err
}

// service has each node's pod ask the service, behind which are the pods of all nodes.
func (d *clusterDemo) service(ctx context.Context) error {
	pods, address, err := d.cluster.Echo(ctx)
	if err != nil {
		return err
	}
	d.say("who answers at the service %s, asked 60 times by a pod on each node", address)
	for _, n := range d.cluster.Lab.Nodes() {
		answers, err := d.cluster.AskService(ctx, n, 60)
		if err != nil {
			return fmt.Errorf("asking from %s: %w", n.Name, err)
		}
		fmt.Fprintf(d.out, "%s:", n.Name)
		for _, on := range slices.Sorted(maps.Keys(pods)) {
			fmt.Fprintf(d.out, "   the pod on %s %d times", on, answers[pods[on].Name])
		}
		fmt.Fprintln(d.out)
	}
	return nil
}

func (d *clusterDemo) wg(ctx context.Context) error {
	return d.peers(ctx, d.cluster.Lab.Node("n1"))
}

func (d *clusterDemo) wire(ctx context.Context) error { return d.underlay(ctx, d.capture) }

// kubectl shows a command and what it says.
func (d *clusterDemo) kubectl(ctx context.Context, args ...string) (string, error) {
	d.say("kubectl %s", strings.ReplaceAll(strings.Join(args, " "), d.manifest, "manifests/warren.yaml"))
	cmd := exec.CommandContext(ctx, d.cluster.Kubectl(), append([]string{"--kubeconfig", d.cluster.Kubeconfig()}, args...)...) //nolint:gosec // our own
	text, err := cmd.CombinedOutput()
	fmt.Fprint(d.out, string(text))
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w", args[0], err)
	}
	return string(text), nil
}
