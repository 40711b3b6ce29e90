package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/internal/socket"
)

func statusCommand(client func() *socket.Client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the agent and its WireGuard device are; exits with 1 when the mesh, or with --mode=policy the policy, is not programmed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			status, err := client().Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := out.print(cmd.OutOrStdout(), status, func(w io.Writer) { writeStatus(w, status) }); err != nil {
				return fmt.Errorf("writing the status: %w", err)
			}
			if !status.Ready && status.Mode == policyMode {
				return fmt.Errorf("policy is not in the kernel: %s", problem(status))
			}
			if !status.Ready {
				return fmt.Errorf("the mesh is not programmed: %s", problem(status))
			}
			return nil
		},
	}
	out.addFlag(cmd)
	return cmd
}

func problem(status socket.Status) string {
	if status.Problem == "" {
		return "waiting for the API server"
	}
	return status.Problem
}

// mode says what of Warren runs.
func mode(s socket.Status) string {
	text := s.Mode
	if s.Mode == policyMode {
		return text + ", on another network's pods"
	}
	if len(s.PodInterfaces) > 0 {
		text += ", for another plugin's pods on " + strings.Join(s.PodInterfaces, ", ")
	}
	if !s.Policy {
		text += "; policy is not enforced"
	}
	return text
}

// policyMode is the mode in which there is no mesh.
const policyMode = "policy"

// writePolicyStatus says on which pods policy is enforced, and on which not.
func writePolicyStatus(w io.Writer, s socket.Status) {
	fmt.Fprintf(w, "policy is enforced on: %d pods' links\n", s.PolicedLinks)
	if len(s.Unpoliced) > 0 {
		fmt.Fprintf(w, "POLICY IS NOT ENFORCED on: %d pods\n", len(s.Unpoliced))
	}
	for _, p := range s.Unpoliced {
		fmt.Fprintf(w, "  %s\n", p)
	}
	writeLacking(w, s)
}

func writeLacking(w io.Writer, s socket.Status) {
	for _, permission := range s.Lacking {
		fmt.Fprintf(w, "not granted by the API server: %s\n", permission)
	}
}

func writeStatus(w io.Writer, s socket.Status) {
	ready := "yes"
	if !s.Ready {
		ready = "no: " + problem(s)
	}
	fmt.Fprintf(w, "node: %s\n  version: %s\n  ready: %s\n  mode: %s\n", s.Node, s.Version, ready, mode(s))
	if s.Mode == policyMode {
		writePolicyStatus(w, s)
		return
	}
	fmt.Fprintf(w, "  pod CIDRs: %s\n  mesh addresses: %s\n", list(s.PodCIDRs, "none granted yet"), list(s.MeshAddresses, "none"))
	fmt.Fprintf(w, "interface: %s (%s)\n  public key: %s\n  listening port: %d\n  mtu: %d\n  peers: %d\n",
		s.Interface, s.Implementation, s.PublicKey, s.ListenPort, s.MTU, s.Peers)
	if len(s.MigrateFrom) > 0 {
		fmt.Fprintf(w, "migrated from: %s\n  in clear to: %s\n  in clear so far, both ways: %d packets\n",
			strings.Join(s.MigrateFrom, ", "), cmp.Or(strings.Join(s.InClear, ", "), "no node"), s.InClearPackets)
	}
	if len(s.Waiting) > 0 {
		fmt.Fprintf(w, "waiting for: %s\n", strings.Join(s.Waiting, ", "))
	}
	writeLacking(w, s)
	for _, r := range s.Refused {
		of := ""
		if r.Node != "" {
			of = " of " + r.Node
		}
		fmt.Fprintf(w, "refused%s (%s): %s\n", of, r.Reason, r.Detail)
	}
	fmt.Fprintf(w, "stopped from leaving in clear: %d packets, %s\n", s.StoppedPackets, size(int64(s.StoppedBytes))) //nolint:gosec // a counter
}
