package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/internal/version"
)

func ipamCheckCommand(client func() *socket.Client) *cobra.Command {
	var out output
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with pods' addresses, and what to do; exits with 1 when something is",
		Long: `Say what is wrong with pods' addresses, and what to do; exits with 1 when something is.

On a node it compares the agent's leases with the kernel: leases of pods that are gone, interfaces without a lease, addresses on
another pod's interface or outside the node's pod CIDRs. With --kubeconfig it compares, from anywhere, what the API server has
of all Nodes and Pods: addresses that two pods have, or that are outside their node's grants, pods without one, and grants and
claims that do not fit. It wants to list Nodes, Pods, IPPools
and IPBlocks for that.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			findings, err := check(cmd, client, kubeconfig)
			if err != nil {
				return err
			}
			if err := out.print(cmd.OutOrStdout(), findings, func(w io.Writer) { writeFindings(w, findings) }); err != nil {
				return fmt.Errorf("writing the findings: %w", err)
			}
			if len(findings) > 0 {
				return fmt.Errorf("%d findings", len(findings))
			}
			return nil
		},
	}
	out.addFlag(cmd)
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "check the cluster that this file leads to, instead of this node")
	return cmd
}

func check(cmd *cobra.Command, client func() *socket.Client, kubeconfig string) ([]survey.Finding, error) {
	if kubeconfig == "" {
		return client().CheckIPAM(cmd.Context())
	}
	cluster, err := kube.Survey(cmd.Context(), kubeconfig, "warren/"+version.String())
	if err != nil {
		return nil, err
	}
	return cluster.Check(), nil
}

func writeFindings(w io.Writer, findings []survey.Finding) {
	for _, f := range findings {
		fmt.Fprintln(w, f)
	}
	if len(findings) == 0 {
		fmt.Fprintln(w, "nothing is wrong")
	}
}
