package cli

import (
	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func ipamCommand(client func() *socket.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ipam",
		Short: "Look at the addresses that pods have, and release one",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(ipamShowCommand(client), ipamCheckCommand(client), ipamReleaseCommand(client))
	return cmd
}
