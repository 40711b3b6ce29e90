package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func ipamShowCommand(client func() *socket.Client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what this node hands out to its pods, and how much of it is in use",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			ipam, err := client().IPAM(cmd.Context())
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), ipam, func(w io.Writer) { writeIPAM(w, ipam) })
		},
	}
	out.addFlag(cmd)
	return cmd
}

func writeIPAM(w io.Writer, ipam socket.IPAM) {
	fmt.Fprintf(w, "node: %s\n", ipam.Node)
	for _, u := range ipam.Uses {
		fmt.Fprintf(w, "  %s\n", u)
	}
}
