// Package e2e is Warren's scenarios with real packets: real agents on the nodes of a lab, a real API server, and a capture of the
// underlay that must see nothing of the pods' traffic but WireGuard.
package e2e

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: the scenarios need root: they make network, mount and PID namespaces")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
