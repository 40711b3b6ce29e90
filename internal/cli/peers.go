package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func peersCommand(client func() *socket.Client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Show what `wg show` shows, with the nodes' names",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			peers, err := client().Peers(cmd.Context())
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), peers, func(w io.Writer) { writePeers(w, peers, time.Now()) })
		},
	}
	out.addFlag(cmd)
	return cmd
}

func writePeers(w io.Writer, peers []socket.Peer, now time.Time) {
	for _, p := range peers {
		name := p.Node
		if name == "" {
			name = "(not in the plan)"
		}
		endpoint := "(none known: the peer must call first)"
		if p.Endpoint.IsValid() {
			endpoint = p.Endpoint.String()
		}
		fmt.Fprintf(w, "node: %s\n  peer: %s\n  endpoint: %s\n  allowed ips: %s\n  latest handshake: %s\n  transfer: %s received, %s sent\n\n",
			name, p.PublicKey, endpoint, list(p.AllowedIPs, "(none)"), ago(p.LastHandshake, now),
			size(p.ReceiveBytes), size(p.TransmitBytes))
	}
}
