package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/internal/clock"
	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/cni/install"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/ipam/journal"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/guard"
	"github.com/warren-mesh/warren/mesh/route"
	"github.com/warren-mesh/warren/mesh/wg"
	"github.com/warren-mesh/warren/mesh/wg/tunnel"
	"github.com/warren-mesh/warren/policy/nft"
)

func uninstallCommand(client func() *socket.Client) *cobra.Command {
	var places places
	var force bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove all that Warren put on this node: pods lose their network, and the node its key",
		Long: `uninstall removes Warren's routes, links (the WireGuard device and the pods' interfaces), its nftables tables, its accepts in
the host's firewall, and its files. It finds them by their marks (route protocol 87, link aliases that begin with
"warren.dev/", nftables comments) and names, so that nothing of anybody else is touched. Stop the agent first.

Where another network's configuration chains Warren's gate it refuses: without the plugin that network's pods could not start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkStopped(cmd.Context(), client()); err != nil {
				return err
			}
			if err := checkUnchained(places.cniConfDir); err != nil && !force {
				return err
			}
			var err error
			if places.socket, err = cmd.Flags().GetString("socket"); err != nil {
				return fmt.Errorf("reading --socket: %w", err)
			}
			removed, err := uninstall(places)
			for _, what := range removed {
				fmt.Fprintln(cmd.OutOrStdout(), "removed", what)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&places.stateDir, "state-dir", "/var/lib/warren", "the agent's folder")
	cmd.Flags().StringVar(&places.cniConfDir, "cni-conf-dir", install.DefaultConfDir, "the folder of the CNI configuration")
	cmd.Flags().StringVar(&places.cniBinDir, "cni-bin-dir", install.DefaultBinDir, "the folder of the CNI plugin")
	cmd.Flags().StringSliceVar(&places.emptyFolders, "empty-folders", nil,
		"folders to remove too if nothing is in them: a kubelet makes those that it mounts into the agent")
	cmd.Flags().BoolVar(&force, "force", false, "uninstall also where another network's configuration chains the gate: its pods cannot start until it is taken out")
	return cmd
}

// places are where the agent was told to keep its files.
type places struct {
	stateDir, socket, cniConfDir, cniBinDir string
	emptyFolders                            []string
}

// checkStopped is an error unless nobody listens on the agent's socket: an agent that cannot tell its status runs too.
func checkStopped(ctx context.Context, client *socket.Client) error {
	_, err := client.Status(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil
	case err == nil:
		return errors.New("warrend is running on this node and would put everything back; stop it first")
	}
	return fmt.Errorf("warrend may be running on this node and would put everything back; stop it first: %w", err)
}

// checkUnchained is an error where another network's pods need the plugin.
func checkUnchained(confDir string) error {
	files, err := install.Chaining(confDir)
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("%s chains %s: no pod of that network could start without it; take {\"type\": %q, \"gate\": true} out of its plugins first, "+
			"or give --force", strings.Join(files, ", "), cni.PluginName, cni.PluginName)
	}
	return err
}

// uninstall goes on after a failure, so that one thing that resists does not keep the rest. First the runtime is told that there is no
// network for pods any more. The guard goes after the links: until then nothing can leave in clear.
func uninstall(p places) (removed []string, err error) {
	runDir, name := filepath.Split(filepath.Clean(p.socket))
	tunnels := filepath.Base(tunnel.ServeSocket)
	var errs []error
	for _, remove := range []func() ([]string, error){
		func() ([]string, error) { return install.Remove(p.cniConfDir, p.cniBinDir) },
		func() ([]string, error) { return removeLanes(runDir) },
		route.Remove,
		nft.Remove,
		guard.Remove,
		func() ([]string, error) {
			return removeFiles(filepath.Join(p.stateDir, journal.Folder), journal.FileName, journal.TempName)
		},
		func() ([]string, error) {
			return removeFiles(p.stateDir, "key", ".key-*.tmp", checkpoint.FileName, checkpoint.TempName,
				checkpoint.SupplyName, checkpoint.SupplyTempName, checkpoint.PolicyName, checkpoint.PolicyTempName, checkpoint.LinksName, checkpoint.LinksTempName, clock.FileName, clock.TempName)
		},
		func() ([]string, error) { return removeFiles(cni.TombstoneDir(p.socket), "*") },
		func() ([]string, error) {
			return removeFiles(runDir, name, name+".new", install.ConflistName, tunnels, tunnels+".new", filepath.Base(wg.LogPath("", "*")))
		},
		func() (removed []string, err error) {
			for _, folder := range p.emptyFolders {
				what, errFolder := removeFiles(folder)
				removed, err = append(removed, what...), errors.Join(err, errFolder)
			}
			return removed, err
		},
	} {
		what, err := remove()
		removed = append(removed, what...)
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

// removeLanes knows the lanes whose links are gone already by their tunnel processes' logs.
func removeLanes(runDir string) (removed []string, err error) {
	logs, err := filepath.Glob(wg.LogPath(runDir, "*"))
	if err != nil {
		return nil, fmt.Errorf("finding the tunnel processes' logs: %w", err)
	}
	prefix, suffix, _ := strings.Cut(filepath.Base(wg.LogPath("", "*")), "*")
	var lanes []string
	for _, log := range logs {
		lanes = append(lanes, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(log), prefix), suffix))
	}
	links, err := wg.Remove(lanes...)
	for _, link := range links {
		removed = append(removed, fmt.Sprintf("link %s (%s)", link, mesh.LaneAlias))
	}
	return removed, err
}

// removeFiles removes what the agent keeps in a folder, and the folder only when nothing else is in it.
func removeFiles(folder string, patterns ...string) (removed []string, err error) {
	folder = filepath.Clean(folder)
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var errs []error
	for _, pattern := range patterns {
		matches, err := filepath.Glob(filepath.Join(folder, pattern))
		errs = append(errs, err)
		for _, path := range matches {
			if err := os.Remove(path); err != nil {
				errs = append(errs, fmt.Errorf("removing a file: %w", err))
				continue
			}
			removed = append(removed, "file "+path)
		}
	}
	switch err := unix.Rmdir(folder); {
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTDIR): // others' files, a mount point, a link
	case err != nil:
		errs = append(errs, fmt.Errorf("removing folder %s: %w", folder, err))
	default:
		removed = append(removed, "folder "+folder)
	}
	return removed, errors.Join(errs...)
}

// waitCommand is for the pod of manifests/uninstall.yaml: a DaemonSet's pods run on when their work is done.
func waitCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "wait",
		Short:  "Wait until told to end",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			<-cmd.Context().Done()
			return nil
		},
	}
}
