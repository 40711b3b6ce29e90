package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func policyShowCommand(client func() *socket.Client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "show NAMESPACE/POD",
		Short: "Show the policies that are about a pod, and on its node what the kernel holds for it",
		Long: `Show the policies that are about a pod in each direction, in the order in which they are asked, with their rules in words.

On the pod's node it also shows the part of the nftables table inet warren-policy that is the pod's, as nft would list it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			shown, err := client().ShowPolicy(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), shown, func(w io.Writer) { writePolicyOfPod(w, shown) })
		},
	}
	out.addFlag(cmd)
	return cmd
}

func writePolicyOfPod(w io.Writer, s socket.PolicyOfPod) {
	fmt.Fprint(w, s.Policies)
	if s.Local {
		fmt.Fprintf(w, "\nin the kernel of %s:\n%s", s.Node, s.Kernel)
	} else {
		fmt.Fprintf(w, "\nit has no rules on %s: what the kernel holds for it is shown on its own node\n", s.Node)
	}
	writeBehind(w, s.Behind)
}
