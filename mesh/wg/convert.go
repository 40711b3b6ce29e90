package wg

import (
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func peerConfig(c Change) wgtypes.PeerConfig {
	config := wgtypes.PeerConfig{
		PublicKey:                   wgtypes.Key(c.PublicKey),
		Remove:                      c.Remove,
		UpdateOnly:                  !c.New,
		PersistentKeepaliveInterval: c.Keepalive,
		ReplaceAllowedIPs:           c.ReplaceAllowedIPs,
	}
	if c.ClearPresharedKey {
		config.PresharedKey = &wgtypes.Key{}
	}
	if c.Endpoint.IsValid() {
		config.Endpoint = net.UDPAddrFromAddrPort(c.Endpoint)
	}
	for _, prefix := range c.AllowedIPs {
		config.AllowedIPs = append(config.AllowedIPs, net.IPNet{
			IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		})
	}
	return config
}

// addrPort is the zero value where there is no address.
func addrPort(address *net.UDPAddr) netip.AddrPort {
	if address == nil {
		return netip.AddrPort{}
	}
	ap := address.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func prefixes(nets []net.IPNet) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range nets {
		address, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		bits, _ := n.Mask.Size()
		out = append(out, netip.PrefixFrom(address.Unmap(), bits))
	}
	return out
}
