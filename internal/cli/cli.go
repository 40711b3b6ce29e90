// Package cli is the command line: a file for each subcommand. It is what cmd/warren runs, and cmd/warrend where it is called by that name.
package cli

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

// Name is what the command line is called by.
const Name = "warren"

// Run does what the process's arguments say, and returns its exit code.
func Run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, Name+":", err)
		return 1
	}
	return 0
}

func command() *cobra.Command {
	var path string
	root := &cobra.Command{
		Use:           Name,
		Short:         "Look at Warren, the encrypted network of a Kubernetes cluster, on this node",
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&path, "socket", socket.DefaultPath, "unix socket of the agent on this node")
	client := func() *socket.Client { return socket.NewClient(path) }
	root.AddCommand(statusCommand(client), peersCommand(client), planCommand(client), ipamCommand(client), policyCommand(client), uninstallCommand(client), waitCommand())
	return root
}
