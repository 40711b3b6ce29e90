package lab

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Host is a place of the lab where commands run and sockets live: a node, a pod or the switch.
type Host struct {
	// Name is the host name: n1 for a node, p1 for a pod, switch for the switch.
	Name string
	// Addresses are the host's own: a node's on the underlay, a pod's from its node's CIDRs.
	Addresses []netip.Addr

	ns       *namespaces
	bin      string
	env      []string
	children *children
	echo     *echo
}

// Do runs f on a thread that is in the host's network namespace. Sockets that it makes stay there. Paths are those of
// the machine, except that /proc/sys/net is the host's.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := h.ns.enter("net"); err != nil {
			return err
		}
		return f()
	})
}

// Inside is as Do, with the host's own /run and /var/lib/warren.
func (h *Host) Inside(f func() error) error {
	return onThread(func() error {
		if err := h.ns.enter("net", "uts", "mnt"); err != nil {
			return err
		}
		return f()
	})
}

// NetNS is the path of the host's network namespace, as this process sees it.
func (h *Host) NetNS() string { return fdPath(os.Getpid(), h.ns.net) }

// Dial connects from the host, as net.Dialer does. The address must be numeric.
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		dialer := net.Dialer{FallbackDelay: -1} // all on this thread
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens for connections at the host, as net.Listen does.
func (h *Host) Listen(network, address string) (l net.Listener, err error) {
	err = h.Do(func() error {
		l, err = net.Listen(network, address) //nolint:noctx // no name to look up: it does not wait
		return err
	})
	return l, err
}

// ListenPacket listens for packets at the host, as net.ListenPacket does.
func (h *Host) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = h.Do(func() error {
		c, err = net.ListenPacket(network, address) //nolint:noctx // no name to look up: it does not wait
		return err
	})
	return c, err
}

// Address is the host's address of a family: of IPv4 where v4 is set. It is invalid where there is none.
func (h *Host) Address(v4 bool) netip.Addr {
	for _, a := range h.Addresses {
		if a.Is4() == v4 {
			return a
		}
	}
	return netip.Addr{}
}

// lookup prefers the lab's own programs.
func (h *Host) lookup(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	if own := filepath.Join(h.bin, name); isFile(own) {
		return own
	}
	return name
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// environ is this process's environment with the lab's programs first in PATH.
func (h *Host) environ() []string {
	env := append(os.Environ(), "PATH="+h.bin+":"+os.Getenv("PATH"))
	return append(env, h.env...)
}
