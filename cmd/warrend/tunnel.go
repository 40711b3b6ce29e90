package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/agent"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

func tunnelCommand() *cobra.Command {
	var iface, path string
	cmd := &cobra.Command{
		Use:   "tunnel",
		Short: "Run the userspace WireGuard device of one lane (the agent starts it where the kernel has no WireGuard)",
		Long: `tunnel runs the userspace WireGuard device of one lane, as the agent has it do where the kernel has no WireGuard. With --serve
it makes no device of its own accord, and runs those that the agent asks for at that socket: in a container of its own it outlives
the agent's.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			beFrugalTunnel()
			if path != "" {
				return serveTunnels(cmd.Context(), path)
			}
			return tunnel.Run(cmd.Context(), tunnel.Options{Interface: iface})
		},
	}
	cmd.Flags().StringVar(&iface, "interface", agent.DefaultInterface, "name of the lane's link")
	cmd.Flags().StringVar(&path, "serve", "", "unix socket to be asked for devices at, as "+tunnel.ServeSocket+", which is the agent's --tunnel-socket")
	cmd.MarkFlagsMutuallyExclusive("interface", "serve")
	return cmd
}

func serveTunnels(ctx context.Context, path string) error {
	listener, err := socket.Listen(ctx, path)
	if err != nil {
		return err
	}
	return tunnel.Serve(ctx, listener, os.Stderr)
}
