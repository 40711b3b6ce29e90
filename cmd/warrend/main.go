// Command warrend is Warren's agent: one on each node. Called by the name warren it is the command line: nearly all that one is made of is
// in here anyway, and one file for both makes the image two fifths smaller.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/agent"
	"github.com/warren-mesh/warren/internal/cli"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/version"
)

func main() {
	if filepath.Base(os.Args[0]) == cli.Name {
		os.Exit(cli.Run())
	}
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "warrend:", err)
		return 1
	}
	return 0
}

func command() *cobra.Command {
	var options Options
	root := &cobra.Command{
		Use:   "warrend",
		Short: "The agent of Warren, the encrypted network of a Kubernetes cluster",
		Long: `warrend runs on each node. It publishes the node's WireGuard key and pod CIDRs on its own Node, reads all others', and keeps
devices, peers, routes and the guard in the kernel in the state that follows. Stopping it changes nothing in the kernel:
only "warren uninstall" does. Every flag may also be given as an environment variable: WARREN_ and the flag's name in
capitals with underscores, as WARREN_CLUSTER_CIDR (and NODE_NAME and KUBECONFIG as usual).`,
		Args:          cobra.NoArgs,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Complete(cmd.Flags(), os.LookupEnv)
			config, err := options.Validate()
			if err != nil {
				return fmt.Errorf("nothing was started, because of the flags:\n%w", err)
			}
			return runAgent(cmd.Context(), config)
		},
	}
	options.AddFlags(root.Flags())
	root.AddCommand(tunnelCommand(), installCommand())
	return root
}

func runAgent(ctx context.Context, config Config) error {
	logger, err := config.Log.Build()
	if err != nil {
		return fmt.Errorf("making the logger: %w", err)
	}
	defer func() { _ = logger.Sync() }()
	kube.RedirectKlog(logger)
	beFrugal()
	return agent.Run(ctx, config.Agent, logger)
}
