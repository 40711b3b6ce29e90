package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/mesh/guard"
	"github.com/warren-mesh/warren/mesh/route"
	"github.com/warren-mesh/warren/mesh/wg"
)

func uninstallCommand(client func() *socket.Client) *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove all that Warren put on this node: pods lose their network, and the node its key",
		Long: `uninstall removes Warren's routes, links (the WireGuard device and the pods' interfaces), its nftables table, its accepts in
the host's firewall, and its files. It finds them by their marks (route protocol 87, link aliases that begin with
"warren.dev/", nftables comments), so that nothing of anybody else is touched. Stop the agent first.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := client().Status(cmd.Context()); err == nil {
				return errors.New("warrend is running on this node and would put everything back; stop it first")
			}
			socketPath, err := cmd.Flags().GetString("socket")
			if err != nil {
				return fmt.Errorf("reading --socket: %w", err)
			}
			removed, err := uninstall(stateDir, filepath.Dir(socketPath))
			for _, what := range removed {
				fmt.Fprintln(cmd.OutOrStdout(), "removed", what)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", "/var/lib/warren", "the agent's folder")
	return cmd
}

// uninstall goes on after a failure, so that one thing that resists does not keep the rest. The guard goes last: until
// then nothing can leave in clear.
func uninstall(folders ...string) (removed []string, err error) {
	var errs []error
	for _, remove := range []func() ([]string, error){func() ([]string, error) { return wg.Remove() }, route.Remove, guard.Remove} {
		what, err := remove()
		removed = append(removed, what...)
		errs = append(errs, err)
	}
	for _, folder := range folders {
		what, err := removeFiles(folder)
		removed = append(removed, what...)
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

// files are what the agent keeps in its folders. Only they are removed, and a folder only when nothing else is in it.
var files = []string{"key", "agent.sock", "agent.sock.new", "tunnel-*.log"}

func removeFiles(folder string) (removed []string, err error) {
	if _, err := os.Lstat(folder); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var errs []error
	for _, pattern := range files {
		matches, err := filepath.Glob(filepath.Join(folder, pattern))
		errs = append(errs, err)
		for _, path := range matches {
			if err := os.Remove(path); err != nil {
				errs = append(errs, fmt.Errorf("removing a file: %w", err))
				continue
			}
			removed = append(removed, path)
		}
	}
	left, err := os.ReadDir(folder)
	if err == nil && len(left) == 0 {
		err = os.Remove(folder)
		removed = append(removed, folder)
	}
	return removed, errors.Join(append(errs, err)...)
}
