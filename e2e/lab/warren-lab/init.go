package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/e2e/lab"
)

func newInit() *cobra.Command {
	return &cobra.Command{
		Use:    "init DIR",
		Short:  "The first process of a lab; the lab itself starts it",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return lab.RunInit(args[0], os.Stdin, os.Stdout)
		},
	}
}
