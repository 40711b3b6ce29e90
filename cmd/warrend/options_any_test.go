package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/mesh"
)

// drawnCIDRs are lists that are sound, that are nearly so, and that are anything.
var drawnCIDRs = rapid.OneOf(
	rapid.SampledFrom([]string{
		"10.244.0.0/16,fd00:10:244::/48", "10.96.0.0/12", "0.0.0.0/0", "::/0", " 10.244.0.0/16 ,", "10.244.1.0/24",
		"::ffff:10.244.0.0/112,fe80::1%eth0/64", "10.244.1.1/16",
	}),
	rapid.StringMatching(`([0-9a-f:.%]{0,20}/[0-9]{0,3},?){0,3}`),
	rapid.String(),
)

// TestAnyCIDRs: nothing in a flag that is a list of CIDRs makes Validate panic, and what it accepts can be given to the mesh.
func TestAnyCIDRs(t *testing.T) { rapid.Check(t, anyCIDRs) }

func FuzzCIDRs(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anyCIDRs)) }

func anyCIDRs(t *rapid.T) {
	cluster, service := drawnCIDRs.Draw(t, "cluster"), drawnCIDRs.Draw(t, "service")
	var o Options
	flags := pflag.NewFlagSet("warrend", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse([]string{"--node-name=n1", "--cluster-cidr=" + cluster, "--service-cidr=" + service}); err != nil {
		t.Fatal(err)
	}
	config, err := o.Validate()
	if err != nil {
		return
	}
	if len(config.Agent.ClusterCIDRs) == 0 {
		t.Fatalf("%q was taken for the cluster's pod CIDRs", cluster)
	}
	for _, p := range append(config.Agent.ClusterCIDRs, config.Agent.ServiceCIDRs...) {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Fatalf("%q and %q hold %s", cluster, service, p)
		}
	}
	plan := mesh.Compute(mesh.Local{Name: "n1", Interface: "warren0", ClusterCIDRs: config.Agent.ClusterCIDRs}, nil).Plan
	if diff := cmp.Diff(len(config.Agent.ClusterCIDRs), len(plan.Routes)); diff != "" {
		t.Fatalf("routes that keep %q from the default route (-want +got):\n%s", cluster, diff)
	}
}
