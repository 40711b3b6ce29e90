package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/e2e/lab/wire"
)

// markSize is the length of a control's mark, in bytes: no other frame ends so.
const markSize = 16

// controlPatience is how long a control may take to be seen.
const controlPatience = 2 * time.Second

// Control proves the capture: it sends pod addresses in clear from a node, in every form that is looked for, and fails
// unless each is seen as a leak. They go out beneath the node's firewall, which would rightly stop them, and are not
// among [Capture.Leaks].
func (c *Capture) Control(ctx context.Context, n *Node) error {
	mark := make([]byte, markSize)
	if _, err := rand.Read(mark); err != nil {
		return err
	}
	var controls []wire.Control
	for _, prefix := range c.inspector.Pods {
		more, err := wire.Controls(hardwareAddr(10+n.index), controlAddress(prefix, n), mark)
		if err != nil {
			return err
		}
		controls = append(controls, more...)
	}
	c.mu.Lock()
	c.marks = append(c.marks, mark)
	c.mu.Unlock()
	if err := n.Do(func() error { return send(controls) }); err != nil {
		return fmt.Errorf("sending control frames from %s: %w", n.Name, err)
	}
	return c.awaitControls(ctx, n, controls)
}

// controlAddress is one that a pod of the node could have, or failing that a pod of the cluster.
func controlAddress(cluster netip.Prefix, n *Node) netip.Addr {
	for _, p := range n.PodCIDRs {
		if p.Addr().Is4() == cluster.Addr().Is4() {
			return nth(p, 250)
		}
	}
	return nth(cluster, 250)
}

func (c *Capture) awaitControls(ctx context.Context, n *Node, controls []wire.Control) error {
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(controlPatience))
	defer cancel()
	for {
		var missing []string
		c.mu.Lock()
		for _, control := range controls {
			if !c.control[string(control.Frame)] {
				missing = append(missing, control.Form)
			}
		}
		c.proven = c.proven || len(missing) == 0
		c.mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the capture does not see what leaks from %s: %s: %w", n.Name, strings.Join(missing, ", "), context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// isControl says whether a frame is one of ours, and takes note of those that were seen to leak. mu is held.
func (c *Capture) isControl(frame []byte, result wire.Result) bool {
	for _, mark := range c.marks {
		if bytes.HasSuffix(frame, mark) {
			if len(result.Findings) > 0 {
				c.control[string(frame)] = true
			}
			return true
		}
	}
	return false
}

// send puts frames on the uplink as they are. It runs in the node's namespace.
func send(controls []wire.Control) error {
	link, err := netlink.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("finding %s: %w", uplink, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a packet socket: %w", err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}
	var errs []error
	for _, control := range controls {
		if err := unix.Sendto(fd, control.Frame, 0, to); err != nil {
			errs = append(errs, fmt.Errorf("sending a frame (%s): %w", control.Form, err))
		}
	}
	return errors.Join(append(errs, unix.Close(fd))...)
}
