package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func policyDropsCommand(client func() *socket.Client) *cobra.Command {
	var out output
	var follow bool
	cmd := &cobra.Command{
		Use:   "drops",
		Short: "Show packets that policy dropped on this node",
		Long: `Show the last 1,000 packets that policy dropped on this node, and with --follow those that come, in names: whose side it was, and the
policy and rule.

Not every packet is told of: the kernel tells of 10 a second of each rule, and the agent keeps 100 a second. The metric
warren_policy_denied_packets_total counts them all. With -o json each is one line.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return showDrops(cmd.Context(), client(), follow, func(d socket.Drop) error {
				if out.format == "json" {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(d)
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), dropText(d))
				return err
			}, cmd.ErrOrStderr())
		},
	}
	out.addFlag(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with those that come, until interrupted")
	return cmd
}

// showDrops shows packets until there are no more or, with follow, ctx ends. What is missing among them is told to complain.
func showDrops(ctx context.Context, client *socket.Client, follow bool, show func(socket.Drop) error, complain io.Writer) error {
	for after := uint64(0); ; {
		found, err := client.Drops(ctx, after, follow)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was to end
		}
		if err != nil {
			return err
		}
		if found.Gone > 0 {
			fmt.Fprintf(complain, "%d packets came and went meanwhile\n", found.Gone)
		}
		for _, d := range found.Drops {
			if err := show(d); err != nil {
				return fmt.Errorf("writing a denied packet: %w", err)
			}
		}
		if after = found.Next; !follow {
			return nil
		}
	}
}

// dropText is a packet in a line.
func dropText(d socket.Drop) string {
	text := fmt.Sprintf("%s %s to %s, %s: ", d.Time.Format("2006-01-02T15:04:05.000Z07:00"), end(d.From), end(d.To), d.Protocol)
	switch {
	case d.Pod != "":
		text += d.Direction + " of " + d.Pod + ": "
	case d.Direction != "":
		text += d.Direction + " by " + d.Interface + ": "
	}
	switch {
	case len(d.IsolatedBy) > 1:
		text += "NetworkPolicies " + strings.Join(d.IsolatedBy, ", ") + " isolate it, and no rule of theirs matches"
	case d.Rule != nil:
		text += rule(*d.Rule, d.Direction)
	case d.Reason == "past rule":
		text += "a rule that has gone since"
	case d.Reason == "spoofed source":
		text += "it sent under an address that is not its own"
	case d.Reason == "revoked":
		text += "a change of policy ended the flow"
	default:
		text += d.Reason
	}
	if d.Missed > 0 {
		text += fmt.Sprintf(" (%d before it were lost)", d.Missed)
	}
	return text
}
