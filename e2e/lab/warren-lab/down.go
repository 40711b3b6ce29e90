package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/e2e/lab"
)

func newDown() *cobra.Command {
	var name string
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End a lab, and remove what is left of labs that were killed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{name}
			if all {
				var err error
				if names, err = lab.Names(); err != nil {
					return err
				}
			}
			var errs []error
			for _, n := range names {
				err := lab.Down(n)
				switch {
				case err == nil:
					fmt.Fprintf(cmd.OutOrStdout(), "lab %s: ended\n", n)
				case errors.Is(err, lab.ErrNoLab):
					fmt.Fprintf(cmd.OutOrStdout(), "lab %s: not up\n", n)
				default:
					errs = append(errs, err)
				}
			}
			swept, err := lab.Sweep()
			for _, n := range swept {
				fmt.Fprintf(cmd.OutOrStdout(), "lab %s: its owner is gone; removed\n", n)
			}
			return errors.Join(append(errs, err)...)
		},
	}
	cmd.Flags().StringVar(&name, "name", lab.DefaultName, "name of the lab")
	cmd.Flags().BoolVar(&all, "all", false, "end all labs, those of tests under way too")
	return cmd
}
