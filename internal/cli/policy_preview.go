package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

// previewWatch is how often `warren policy preview --watch` looks.
const previewWatch = 2 * time.Second

func policyPreviewCommand(client func() *socket.Client) *cobra.Command {
	var out output
	var watch bool
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "List the flows of this node that previewed policies would cut",
		Long: `List, for each policy annotated warren.dev/stage: preview, the flows of this node's pods that it would cut if it were enforced: by which
rule, and at which pod. Such a policy is not enforced.

Flows that are open now are listed. The metric warren_policy_preview_would_deny_total counts them over time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			for {
				previews, err := client().PreviewPolicy(cmd.Context())
				if err != nil {
					return err
				}
				if watch && out.format == "text" {
					fmt.Fprintln(cmd.OutOrStdout(), time.Now().Format(time.RFC3339))
				}
				err = out.print(cmd.OutOrStdout(), previews, func(w io.Writer) { writePreviews(w, previews) })
				if err != nil || !watch {
					return err
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(previewWatch):
				}
			}
		},
	}
	out.addFlag(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again every two seconds, until interrupted")
	return cmd
}

func writePreviews(w io.Writer, p socket.Previews) {
	if len(p.Policies) == 0 {
		fmt.Fprintln(w, "no policy is previewed: annotate one with warren.dev/stage: preview")
	}
	for _, one := range p.Policies {
		name := one.Kind + " " + one.Policy
		if one.Namespace != "" {
			name = one.Kind + " " + one.Namespace + "/" + one.Policy
		}
		fmt.Fprintf(w, "%s would cut, of %d flows on %s:\n", name, p.Flows-p.Unjudged, p.Node)
		for _, c := range one.Cuts {
			fmt.Fprintf(w, "  %s to %s, %s: %s of %s: %s\n", end(c.From), end(c.To), c.Protocol, c.Direction, c.Pod, rule(c.Rule, c.Direction))
		}
		if len(one.Cuts) == 0 {
			fmt.Fprintln(w, "  none")
		}
	}
	if p.Unjudged > 0 {
		fmt.Fprintf(w, "careful: %d more flows were not looked at\n", p.Unjudged)
	}
}
