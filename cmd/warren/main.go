// Command warren asks the agent on this node how the mesh is, and removes Warren from the node.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/version"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "warren:", err)
		return 1
	}
	return 0
}

func command() *cobra.Command {
	var path string
	root := &cobra.Command{
		Use:           "warren",
		Short:         "Look at Warren, the encrypted network of a Kubernetes cluster, on this node",
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&path, "socket", socket.DefaultPath, "unix socket of the agent on this node")
	client := func() *socket.Client { return socket.NewClient(path) }
	root.AddCommand(statusCommand(client), peersCommand(client), planCommand(client), ipamCommand(client), policyCommand(client), uninstallCommand(client))
	return root
}
