package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/warren-mesh/warren/e2e/cluster"
	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
)

func newCluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "A whole Kubernetes cluster: nodes with containerd, kubelet and kube-proxy",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newClusterUp(), newClusterDown(), newClusterDemo(), newClusterNode(), newClusterInit())
	return cmd
}

// clusterOptions are what `cluster up` can be told.
type clusterOptions struct {
	cluster       cluster.Options
	families, cni string
	foreground    bool
}

func (o *clusterOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.cluster.Name, "name", cluster.DefaultName, "name of the cluster")
	fs.IntVar(&o.cluster.Nodes, "nodes", 2, "number of nodes")
	fs.StringVar(&o.families, "families", string(lab.IPv4), "addresses of nodes, pods and services: ipv4, ipv6 or dual")
	fs.StringVar(&o.cni, "cni", string(cluster.Warren), "who gives pods their network: warren, reference (ptp and host-local) or none")
	fs.StringSliceVar(&o.cluster.Manifests, "manifests", nil, "Warren's manifests, files and folders (default manifests/base)")
	fs.StringVar(&o.cluster.Image, "image", "", "archive with Warren's image, docker's or OCI's (default: one made of bin/)")
	fs.StringSliceVar(&o.cluster.Images, "images", nil, "archives of other images to import on every node")
	fs.BoolVar(&o.foreground, "foreground", false, "stay, and end the cluster on Ctrl-C")
}

func newClusterUp() *cobra.Command {
	var o clusterOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster, and return when its nodes are Ready and run pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.cluster.Families, o.cluster.CNI, o.cluster.Out = lab.Families(o.families), cluster.CNI(o.cni), cmd.OutOrStdout()
			if o.foreground {
				return o.serve(cmd.Context())
			}
			return owner{name: o.cluster.Name, down: "warren-lab cluster down"}.detach(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// serve is the cluster's owner: it lives as long as the cluster.
func (o *clusterOptions) serve(ctx context.Context) error {
	c, err := cluster.Start(ctx, o.cluster)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.cluster.Out, "KUBECTL=%s\nKUBECONFIG=%s\n%s\n", c.Kubectl(), c.Kubeconfig(), settled)
	<-ctx.Done()
	return c.Close()
}

func newClusterDown() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End a cluster, and remove what is left of clusters that were killed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := cluster.Down(name)
			switch {
			case err == nil:
				fmt.Fprintf(cmd.OutOrStdout(), "cluster %s: ended\n", name)
			case errors.Is(err, lab.ErrNoLab):
				fmt.Fprintf(cmd.OutOrStdout(), "cluster %s: not up\n", name)
				err = nil
			}
			swept, sweepErr := cluster.Sweep()
			for _, n := range swept {
				fmt.Fprintf(cmd.OutOrStdout(), "cluster %s: its owner is gone; removed\n", n)
			}
			return errors.Join(err, sweepErr)
		},
	}
	cmd.Flags().StringVar(&name, "name", cluster.DefaultName, "name of the cluster")
	return cmd
}

func newClusterNode() *cobra.Command {
	return &cobra.Command{
		Use:    "node FILE",
		Short:  "A node; the cluster itself starts it",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return node.Run(args[0], self, "cluster", "init", args[0])
		},
	}
}

func newClusterInit() *cobra.Command {
	return &cobra.Command{
		Use:    "init FILE",
		Short:  "The first process of a node; the node itself starts it",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return node.Init(args[0], os.Stdout)
		},
	}
}
