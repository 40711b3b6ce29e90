package agent

import "github.com/warren-mesh/warren/mesh/wg/tunnel"

// elsewhere starts userspace devices in the process that serves on the socket. Without one it is nil: a process is started for each.
func elsewhere(socket string) func(iface string) error {
	if socket == "" {
		return nil
	}
	return func(iface string) error { return tunnel.Ask(socket, iface) }
}
