package agent

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that the agent has to have, and for what. manifests/base/daemonset.yaml gives it these and no others.
var needed = []struct {
	bit       uint
	name, why string
	// pods says that it is for pods that get their network of this agent.
	pods bool
}{
	{unix.CAP_NET_ADMIN, "NET_ADMIN", "nftables, and links, routes and WireGuard of the mesh", false},
	{unix.CAP_SYS_ADMIN, "SYS_ADMIN", "entering pods' network namespaces", true},
}

// checkCapabilities names what is missing before anything fails for want of it, which would only say that it is not permitted.
func checkCapabilities(mode Mode) error {
	var have [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("reading the agent's capabilities: %w", err)
	}
	var missing []string
	for _, c := range needed {
		if have[c.bit/32].Effective&(1<<(c.bit%32)) == 0 && (mode == Full || !c.pods) {
			missing = append(missing, fmt.Sprintf("%s (for %s)", c.name, c.why))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("nothing was started: the agent lacks the capabilities %s: in a pod, securityContext.capabilities.add gives them to it",
			strings.Join(missing, " and "))
	}
	return nil
}
