package cli

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func ipamReleaseCommand(client func() *socket.Client) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "release ADDRESS",
		Short: "End the lease that has an address on this node, with all addresses of it, where nothing is left of its pod",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := netip.ParseAddr(args[0])
			if err != nil || addr.Zone() != "" {
				return fmt.Errorf("address %q: want one like 10.244.1.7 or fd00:10:244:1::7", args[0])
			}
			released, err := client().Release(cmd.Context(), socket.Release{Address: addr.Unmap(), Force: force})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "released %s, which was of %s\n", addr, released.From)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also where its pod lives: its interface is taken away")
	return cmd
}
