package main

import (
	"net"
	"testing"

	"github.com/spf13/pflag"
)

// TestBindAddressOfANode: manifests/monitoring writes brackets around the node's address, of whichever family it is. The flag takes both, and so
// does who listens.
func TestBindAddressOfANode(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		var o Options
		flags := pflag.NewFlagSet("warrend", pflag.ContinueOnError)
		o.AddFlags(flags)
		address := "[" + host + "]:9586"
		if err := flags.Parse([]string{"--node-name=n1", "--cluster-cidr=10.244.0.0/16", "--metrics-bind-address=" + address}); err != nil {
			t.Fatal(err)
		}
		config, err := o.Validate()
		if err != nil || config.Agent.MetricsBindAddress != address {
			t.Errorf("%s: got %q, %v", address, config.Agent.MetricsBindAddress, err)
		}
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "["+host+"]:0")
		if err != nil {
			t.Fatal(err)
		}
		if got := listener.Addr().(*net.TCPAddr).IP.String(); got != host {
			t.Errorf("listening at [%s] listens at %s", host, got)
		}
		_ = listener.Close()
	}
}
