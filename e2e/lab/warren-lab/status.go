package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/e2e/lab"
)

func newStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the labs of this machine with their nodes and pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := lab.Names()
			if err != nil {
				return err
			}
			if len(names) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no lab is up")
			}
			for _, name := range names {
				s, err := lab.LoadState(name)
				if err != nil {
					return err
				}
				if err := printState(cmd.OutOrStdout(), s); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func printState(out io.Writer, s lab.State) error {
	condition := "up"
	switch {
	case !s.Owner.Alive():
		condition = "dead; `warren-lab down` removes what is left"
	case !s.Ready:
		condition = "starting"
	}
	fmt.Fprintf(out, "lab %s: %s (process %d)\n", s.Name, condition, s.Owner.PID)
	if s.Kubeconfig != "" {
		fmt.Fprintf(out, "kubectl: warren-lab exec --name %s --switch kubectl get nodes\n", s.Name)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tADDRESSES\tMESH ADDRESSES\tPOD CIDRS")
	for _, h := range s.Hosts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", h.Name, list(h.Addresses), list(h.MeshAddresses), list(h.PodCIDRs))
	}
	return w.Flush()
}

func list[T fmt.Stringer](items []T) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = item.String()
	}
	return strings.Join(parts, ",")
}
