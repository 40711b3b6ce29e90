package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/cni/install"
)

func installCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install the CNI plugin, and nothing else (an init container does, so that the agent need not write programs)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			written, err := install.Plugin(dir)
			if err != nil {
				return err
			}
			how := "is up to date"
			if written {
				how = "installed"
			}
			fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(dir, cni.PluginName), how)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "cni-bin-dir", install.DefaultBinDir, "folder to install it in, from beside warrend")
	return cmd
}
