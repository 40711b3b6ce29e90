package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/warren-mesh/warren/e2e/lab"
)

// upOptions are what `up` can be told.
type upOptions struct {
	lab                lab.Options
	families, underlay string
	pods               int
	foreground         bool
}

func (o *upOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.lab.Name, "name", lab.DefaultName, "name of the lab")
	fs.IntVar(&o.lab.Nodes, "nodes", 3, "number of nodes")
	fs.IntVar(&o.pods, "pods", 2, "number of pods on each node")
	fs.StringVar(&o.families, "families", string(lab.Dual), "addresses of the pods: ipv4, ipv6 or dual")
	fs.StringVar(&o.underlay, "underlay", string(lab.IPv4), "addresses of the nodes: ipv4, ipv6 or dual")
	fs.StringVar(&o.lab.WireGuard, "wireguard", "auto", "the agents' --wireguard: auto, kernel or userspace")
	fs.IntVar(&o.lab.UnderlayMTU, "mtu", 1500, "MTU of the underlay, in bytes")
	fs.BoolVar(&o.lab.StrictRPFilter, "strict-rp-filter", false, "strict reverse-path filter on the nodes")
	fs.BoolVar(&o.lab.NoAgents, "no-agents", false, "start no agents")
	fs.BoolVar(&o.foreground, "foreground", false, "stay, and end the lab on Ctrl-C")
}

func newUp() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a lab: control plane, nodes, agents, pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.lab.PodFamilies, o.lab.UnderlayFamilies = lab.Families(o.families), lab.Families(o.underlay)
			o.lab.Out = cmd.OutOrStdout()
			if o.foreground {
				return o.serve(cmd.Context())
			}
			return owner{name: o.lab.Name, down: "warren-lab down"}.detach(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// serve is the lab's owner: it lives as long as the lab.
func (o *upOptions) serve(ctx context.Context) error {
	l, err := lab.Start(ctx, o.lab)
	if err != nil {
		return err
	}
	for _, n := range l.Nodes() {
		for i := range o.pods {
			if _, err := n.AddPod(ctx, fmt.Sprintf("p%d", i+1)); err != nil {
				return errors.Join(err, l.Close())
			}
		}
	}
	fmt.Fprintln(o.lab.Out, settled)
	<-ctx.Done()
	return l.Close()
}
