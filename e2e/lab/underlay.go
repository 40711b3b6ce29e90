package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// switchName is the host name of the switch, and bridgeName its link.
	switchName = "switch"
	bridgeName = "underlay"
	// uplink is a node's link to the switch.
	uplink = "eth0"
)

// The underlay's networks. The switch has the first address; node i has the one 10+i after the base.
var (
	underlay4 = netip.MustParsePrefix("172.30.0.0/24")
	underlay6 = netip.MustParsePrefix("fd30::/64")
	// gateway6 is the switch's link-local address: the way out of a family that the underlay does not have, so that
	// what leaks by it is seen.
	gateway6 = netip.MustParseAddr("fe80::30:1")
)

// underlayAddresses are those of the host that is n after the base.
func (f Families) underlayAddresses(n int) []netip.Addr {
	var addrs []netip.Addr
	for _, p := range f.choose(underlay4.String(), underlay6.String()) {
		addrs = append(addrs, nth(p, n))
	}
	return addrs
}

// nth is the address n after a prefix's base; n is less than 256.
func nth(p netip.Prefix, n int) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	raw[len(raw)-1] += byte(n) //nolint:gosec // bounded
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// makeSwitch makes the bridge. It runs in the switch's namespace.
func makeSwitch(o Options) error {
	// A bridge that shows its frames to the host's firewall reassembles fragments, which no switch does.
	for _, family := range []string{"ip", "ip6", "arp"} {
		if err := writeSysctl("net/bridge/bridge-nf-call-"+family+"tables", "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	noSnooping := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = bridgeName, o.UnderlayMTU, hardwareAddr(1)
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &noSnooping}); err != nil {
		return fmt.Errorf("making the bridge: %w", err)
	}
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("finding the bridge: %w", err)
	}
	if err := finishLink(bridge, o.Offload); err != nil {
		return err
	}
	return addAddresses(bridge, append(o.UnderlayFamilies.underlayAddresses(1), gateway6))
}

// plug makes a cable from the switch, whose port has the node's name, to the node. It runs in the switch's namespace.
func plug(node string, index int, netns *os.File, o Options) error {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("finding the bridge: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = node, o.UnderlayMTU
	cable := &netlink.Veth{
		LinkAttrs: attrs, PeerName: uplink, PeerMTU: uint32(o.UnderlayMTU), //nolint:gosec // positive
		PeerHardwareAddr: hardwareAddr(10 + index), PeerNamespace: netlink.NsFd(int(netns.Fd())),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("making %s's cable: %w", node, err)
	}
	port, err := netlink.LinkByName(node)
	if err != nil {
		return fmt.Errorf("finding %s's port: %w", node, err)
	}
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		return fmt.Errorf("plugging %s in: %w", node, err)
	}
	return finishLink(port, o.Offload)
}

// configureNode prepares a node's network as an installer of Kubernetes does. It runs in the node's namespace, before
// the cable comes for what is default, after it for the rest.
func configureNode(o Options) error {
	settings := map[string]string{
		"net/ipv4/ip_forward":              "1",
		"net/ipv6/conf/all/forwarding":     "1",
		"net/ipv6/conf/default/accept_dad": "0", // no second of waiting for each address
	}
	if o.StrictRPFilter {
		settings["net/ipv4/conf/all/rp_filter"] = "1"
		settings["net/ipv4/conf/default/rp_filter"] = "1"
	}
	for name, value := range settings {
		if err := writeSysctl(name, value); err != nil {
			return err
		}
	}
	return loopbackUp()
}

// configureUplink gives a node's link its addresses and, for every family that a packet of the lab can have, a default
// route by the switch. It runs in the node's namespace.
func configureUplink(addrs []netip.Addr, o Options) error {
	link, err := netlink.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("finding %s: %w", uplink, err)
	}
	if err := finishLink(link, o.Offload); err != nil {
		return err
	}
	if err := addAddresses(link, addrs); err != nil {
		return err
	}
	return addDefaultRoutes(link, o)
}

func addDefaultRoutes(link netlink.Link, o Options) error {
	for _, v4 := range []bool{true, false} {
		pods, own := o.PodFamilies.has6(), o.UnderlayFamilies.has6()
		if v4 {
			pods, own = o.PodFamilies.has4(), o.UnderlayFamilies.has4()
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Family: unix.AF_INET6, Dst: wholeNet(v4)}
		switch {
		case own && v4:
			route.Family, route.Gw = unix.AF_INET, net.IP(nth(underlay4, 1).AsSlice())
		case own:
			route.Gw = nth(underlay6, 1).AsSlice()
		case pods && v4:
			route.Family, route.Via = unix.AF_INET, &netlink.Via{AddrFamily: unix.AF_INET6, Addr: gateway6.AsSlice()}
		case pods:
			route.Gw = gateway6.AsSlice()
		default:
			continue
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("adding a default route: %w", err)
		}
	}
	return nil
}

func wholeNet(v4 bool) *net.IPNet {
	if v4 {
		return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	}
	return &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
}

// finishLink sets a link up that, unless it may offload, cuts what it sends into frames that a wire would carry.
func finishLink(link netlink.Link, offload bool) error {
	name := link.Attrs().Name
	if !offload {
		if err := netlink.LinkSetGSOMaxSegs(link, 1); err != nil {
			return fmt.Errorf("turning segmentation offload off on %s: %w", name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", name, err)
	}
	return nil
}

// addAddresses adds underlay or link-local addresses, usable at once.
func addAddresses(link netlink.Link, addrs []netip.Addr) error {
	for _, addr := range addrs {
		bits := 64
		if addr.Is4() {
			bits = underlay4.Bits()
		}
		ip := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
		a := &netlink.Addr{IPNet: ip}
		if addr.Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, a); err != nil {
			return fmt.Errorf("adding %s to %s: %w", ip, link.Attrs().Name, err)
		}
	}
	return nil
}

// hardwareAddr is the one of the host that is n after the base, so that captures can be read.
func hardwareAddr(n int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x57, 0, 0, 0, byte(n)} //nolint:gosec // bounded
}

// writeSysctl sets a value of the thread's network namespace; name is as "net/ipv4/ip_forward".
func writeSysctl(name, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o600); err != nil {
		return fmt.Errorf("setting %s to %s: %w", name, value, err)
	}
	return nil
}
