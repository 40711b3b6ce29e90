// Package e2e is Warren's scenarios with real packets: real agents on the nodes of a lab, a real API server, and a capture of the
// underlay that must see nothing of the pods' traffic but WireGuard.
//
// A scenario that holds nothing to less than seconds and counts no packets may run beside another (t.Parallel): a good part of each is the wait for
// its own API server. Those that do have the machine for themselves.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: the scenarios need root: they make network, mount and PID namespaces")
		os.Exit(1)
	}
	if factor := pace.Factor(); factor > 1 {
		fmt.Fprintf(os.Stdout, "the processor is emulated: bars of time are multiplied by %g, bars of loss and of what leaks are not\n", factor)
	}
	os.Exit(m.Run())
}
