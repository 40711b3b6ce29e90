package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func planCommand(client func() *socket.Client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what the kernel should hold, as `wg` and `ip` would print it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			plan, err := client().Plan(cmd.Context())
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), plan, func(w io.Writer) { fmt.Fprint(w, plan) })
		},
	}
	out.addFlag(cmd)
	return cmd
}
