// Command warren-lab puts a cluster of nodes on this machine, opens shells on them and takes them away again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "warren-lab",
		Short:         "A cluster of nodes on one machine, joined by Warren",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.AddCommand(newInit(), newUp(), newDemo(), newDown(), newStatus(), newShell(), newExec(), newCluster())
	err := root.ExecuteContext(ctx)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && errors.Is(err, errCommand):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "warren-lab:", err)
	return 1
}
