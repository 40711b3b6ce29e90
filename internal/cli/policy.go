package cli

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func policyCommand(client func() *socket.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Say what network policy allows and why, what it would cut, and what it dropped",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(policyExplainCommand(client), policyShowCommand(client), policyPreviewCommand(client), policyDropsCommand(client))
	return cmd
}

// writeBehind says that the kernel may hold something else than was shown.
func writeBehind(w io.Writer, behind string) {
	if behind != "" {
		fmt.Fprintf(w, "careful: %s\n", behind)
	}
}

// end is one end of a flow: the pod, where it is one that is known, and its address.
func end(e socket.End) string {
	address := e.Address.String()
	if e.Port != 0 {
		address = netip.AddrPortFrom(e.Address, e.Port).String()
	}
	if e.Pod == "" {
		return address
	}
	return e.Pod + " (" + address + ")"
}

// rule names a rule as `warren policy explain` does.
func rule(r socket.Rule, direction string) string {
	name := "ClusterNetworkPolicy " + r.Policy + " in tier " + r.Tier
	if r.Namespace != "" {
		name = "NetworkPolicy " + r.Namespace + "/" + r.Policy
	}
	switch {
	case r.Policy == "":
		return "several NetworkPolicies isolate it, and no rule of theirs matches"
	case r.Index == nil:
		return name + " isolates it, and no rule of it matches"
	}
	name += fmt.Sprintf(", %s[%d]", direction, *r.Index)
	if r.Name != "" {
		name += fmt.Sprintf(" %q", r.Name)
	}
	return name
}
