package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/mesh"
)

const (
	// byHandLink is the device that is configured without the agent.
	byHandLink = "hand0"
	agentLink  = "warren0"
	// startPatience is how long a userspace device may take until it answers.
	startPatience = 20 * time.Second
)

// kernelState is a mesh as WireGuard and the routing table have it.
type kernelState struct {
	peers  []wgtypes.PeerConfig
	routes []netlink.Route
}

// readState reads what the agent has made of a node.
func readState(n *lab.Node) (state kernelState, err error) {
	err = n.Inside(func() error {
		control, err := wgctrl.New()
		if err != nil {
			return err
		}
		defer control.Close()
		device, err := control.Device(agentLink)
		if err != nil {
			return fmt.Errorf("reading %s: %w", agentLink, err)
		}
		for _, p := range device.Peers {
			state.peers = append(state.peers, wgtypes.PeerConfig{
				PublicKey: p.PublicKey, Endpoint: p.Endpoint, ReplaceAllowedIPs: true, AllowedIPs: p.AllowedIPs,
			})
		}
		filter := &netlink.Route{Protocol: mesh.RouteProtocol, Table: unix.RT_TABLE_MAIN}
		state.routes, err = netlink.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		return err
	})
	return state, err
}

// hand is a device made by hand on a node, and the sockets to configure it with.
type hand struct {
	node    *lab.Node
	control *wgctrl.Client
	routes  *netlink.Handle
	link    int
	tunnel  *lab.Cmd // nil where the kernel has the device
}

// newHand makes the device, of the implementation that the agent has, with a key and a port and the node's mesh addresses, and
// says how long that took.
func newHand(ctx context.Context, n, like *lab.Node) (h *hand, took time.Duration, err error) {
	out, err := like.Run(ctx, "ip", "-details", "link", "show", agentLink)
	if err != nil {
		return nil, 0, err
	}
	h = &hand{node: n}
	start := time.Now()
	if !strings.Contains(out, "wireguard") {
		h.tunnel = n.Command(context.WithoutCancel(ctx), "warrend", "tunnel", "--interface", byHandLink)
		h.tunnel.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := h.tunnel.Start(); err != nil {
			return nil, 0, err
		}
	}
	if err := n.Inside(h.open); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("configuring %s by hand: %w", n.Name, err), h.remove(ctx))
	}
	return h, time.Since(start), nil
}

// open makes the device where the kernel has it, and gives it everything but peers. It runs inside the node.
func (h *hand) open() (err error) {
	if h.routes, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if h.control, err = wgctrl.New(); err != nil {
		return err
	}
	if h.tunnel == nil {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = byHandLink
		if err := h.routes.LinkAdd(&netlink.Wireguard{LinkAttrs: attributes}); err != nil {
			return err
		}
	}
	if err := h.await(); err != nil {
		return err
	}
	link, err := h.routes.LinkByName(byHandLink)
	if err != nil {
		return err
	}
	h.link = link.Attrs().Index
	for _, a := range h.node.MeshAddresses {
		address := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
		if err := h.routes.AddrReplace(link, address); err != nil {
			return err
		}
	}
	if err := h.routes.LinkSetUp(link); err != nil {
		return err
	}
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return err
	}
	port := 51820
	return h.control.ConfigureDevice(byHandLink, wgtypes.Config{PrivateKey: &key, ListenPort: &port})
}

// await waits until the device answers.
func (h *hand) await() error {
	for end := time.Now().Add(startPatience); ; {
		_, err := h.control.Device(byHandLink)
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("waiting for the device: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// remove removes the device; its routes go with it.
func (h *hand) remove(ctx context.Context) error {
	if h.routes != nil {
		h.routes.Close()
	}
	if h.control != nil {
		_ = h.control.Close() // nothing is written by it
	}
	_, err := h.node.Run(context.WithoutCancel(ctx), "ip", "link", "delete", byHandLink)
	if h.tunnel != nil {
		_ = h.tunnel.Wait() // it ends with its link
	}
	return err
}

// configure hands peers to WireGuard in one message and routes to rtnetlink one by one, over one socket, and says how long it took.
func (h *hand) configure(state kernelState) (took time.Duration, err error) {
	routes := h.reroute(state.routes)
	err = h.node.Inside(func() error {
		start := time.Now()
		if err := h.control.ConfigureDevice(byHandLink, wgtypes.Config{Peers: state.peers}); err != nil {
			return fmt.Errorf("configuring %s: %w", byHandLink, err)
		}
		for _, r := range routes {
			if err := h.routes.RouteAdd(&r); err != nil {
				return fmt.Errorf("adding route %s: %w", r.Dst, err)
			}
		}
		took = time.Since(start)
		return nil
	})
	return took, err
}

// withdraw takes routes and peers away again.
func (h *hand) withdraw(state kernelState) (took time.Duration, err error) {
	routes := h.reroute(state.routes)
	var removals []wgtypes.PeerConfig
	for _, p := range state.peers {
		removals = append(removals, wgtypes.PeerConfig{PublicKey: p.PublicKey, Remove: true})
	}
	err = h.node.Inside(func() error {
		start := time.Now()
		for _, r := range routes {
			if err := h.routes.RouteDel(&r); err != nil {
				return fmt.Errorf("deleting route %s: %w", r.Dst, err)
			}
		}
		if err := h.control.ConfigureDevice(byHandLink, wgtypes.Config{Peers: removals}); err != nil {
			return fmt.Errorf("configuring %s: %w", byHandLink, err)
		}
		took = time.Since(start)
		return nil
	})
	return took, err
}

// reroute leads routes over the device made by hand.
func (h *hand) reroute(routes []netlink.Route) []netlink.Route {
	var out []netlink.Route
	for _, r := range routes {
		if r.Type != unix.RTN_UNICAST {
			continue // unreachable: two in all
		}
		again := netlink.Route{Dst: r.Dst, LinkIndex: h.link, Protocol: r.Protocol, Table: r.Table, Type: r.Type, Scope: r.Scope}
		for _, source := range h.node.MeshAddresses {
			if source.Is4() == (r.Dst.IP.To4() != nil) {
				again.Src = net.IP(source.AsSlice())
			}
		}
		out = append(out, again)
	}
	return out
}

// one is the state of one member alone.
func one(m *member) kernelState {
	peer := wgtypes.PeerConfig{
		PublicKey: wgtypes.Key(m.claim.PublicKey), Endpoint: net.UDPAddrFromAddrPort(m.claim.Endpoints[0]),
	}
	var state kernelState
	for _, p := range m.claim.PodCIDRs {
		dst := net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		peer.AllowedIPs = append(peer.AllowedIPs, dst)
		state.routes = append(state.routes, netlink.Route{
			Dst: &dst, Protocol: mesh.RouteProtocol, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST, Scope: netlink.SCOPE_LINK,
		})
	}
	state.peers = []wgtypes.PeerConfig{peer}
	return state
}
