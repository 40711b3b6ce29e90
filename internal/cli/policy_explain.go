package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func policyExplainCommand(client func() *socket.Client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "explain FROM TO PORT",
		Short: "Say whether a connection is allowed, at both ends, and by which rule; exits with 1 when it is denied",
		Long: `Say whether a connection is allowed, at both ends, and by which rule; exits with 1 when it, or a part of it, is denied.

FROM and TO are NAMESPACE/POD, an address, or "node" for this node. PORT is a number or the name of a port of the pod TO, with
/tcp (the default), /udp or /sctp after it, or icmp. The pods may be anywhere. What connects a pod with its own node is known only on
that node: ask there.

Services are judged behind them: name one of the service's pods. The answer is what the API server says; where the kernel of this node is
behind, it says so.`,
		Example: "  warren policy explain shop/cart shop/db 5432\n  warren policy explain 192.0.2.7 shop/web http\n  warren policy explain shop/web node 53/udp",
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			answer, err := client().Explain(cmd.Context(), socket.Question{From: args[0], To: args[1], Port: args[2]})
			if err != nil {
				return err
			}
			if err := out.print(cmd.OutOrStdout(), answer, func(w io.Writer) {
				fmt.Fprint(w, answer.Words)
				writeBehind(w, answer.Behind)
			}); err != nil {
				return fmt.Errorf("writing the answer: %w", err)
			}
			switch {
			case answer.Denied:
				return errors.New("denied")
			case !answer.Allowed:
				return errors.New("denied in part")
			}
			return nil
		},
	}
	out.addFlag(cmd)
	return cmd
}
