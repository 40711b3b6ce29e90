package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/version"
)

func ipamShowCommand(client func() *socket.Client) *cobra.Command {
	var out output
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what this node hands out to its pods, and how much of it is in use",
		Long: `Show what this node hands out to its pods, and how much of it is in use.

With --kubeconfig it shows, from anywhere, the cluster's IPPools, which node holds which block, and how many pods have addresses of
each. It wants to list Nodes, Pods, IPPools and IPBlocks for that.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if kubeconfig != "" {
				return showPools(cmd, &out, kubeconfig)
			}
			ipam, err := client().IPAM(cmd.Context())
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), ipam, func(w io.Writer) { writeIPAM(w, ipam) })
		},
	}
	out.addFlag(cmd)
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "show the pools of the cluster that this file leads to, instead of this node")
	return cmd
}

func showPools(cmd *cobra.Command, out *output, kubeconfig string) error {
	cluster, err := kube.Survey(cmd.Context(), kubeconfig, "warren/"+version.String())
	if err != nil {
		return err
	}
	pools := cluster.InPools()
	return out.print(cmd.OutOrStdout(), pools, func(w io.Writer) {
		for _, p := range pools {
			fmt.Fprint(w, p)
		}
	})
}

func writeIPAM(w io.Writer, ipam socket.IPAM) {
	fmt.Fprintf(w, "node: %s\n", ipam.Node)
	for _, u := range ipam.Uses {
		fmt.Fprintf(w, "  %s\n", u)
	}
}
