package wg

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// checkPort asks whether the UDP port is free. A link that is down takes any port, and when it comes up the userspace device
// has nobody to say to that the port was taken.
func checkPort(port uint16) error {
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := net.ListenUDP(network, &net.UDPAddr{Port: int(port)})
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("another socket has the UDP port: %w", err)
		}
		if err == nil { // else the host lacks this family
			_ = conn.Close()
		}
	}
	return nil
}
