package pods

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
)

// asked is what a runtime asks for beyond an interface, by the capabilities that our configuration declares.
type asked struct {
	// addresses are at most one of each family.
	addresses []netip.Addr
	// mac is the pod's end's; nil where any will do.
	mac net.HardwareAddr
}

// parseAsked reads a configuration's runtimeConfig, which may have none.
func parseAsked(runtimeConfig json.RawMessage) (a asked, err error) {
	var conf struct {
		IPs []string `json:"ips"`
		MAC string   `json:"mac"`
	}
	if len(runtimeConfig) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(runtimeConfig, &conf); err != nil {
		return a, types.NewError(types.ErrDecodingFailure, "parsing runtimeConfig", err.Error())
	}
	refuse := func(format string, args ...any) error {
		return types.NewError(types.ErrInvalidNetworkConfig, "runtimeConfig."+fmt.Sprintf(format, args...), "")
	}
	for _, text := range conf.IPs {
		addr, err := parseAddress(text)
		if err != nil {
			return a, refuse("ips %.100q: want an address of one of the node's pod CIDRs, with or without the length of a prefix", text)
		}
		if slices.ContainsFunc(a.addresses, func(o netip.Addr) bool { return o.Is4() == addr.Is4() }) {
			return a, refuse("ips %.100q: it is the second of its family, want one of each at most", text)
		}
		a.addresses = append(a.addresses, addr)
	}
	if text := conf.MAC; text != "" {
		const size, multicast = 6, 1
		mac, err := net.ParseMAC(text)
		if err != nil || len(mac) != size || mac[0]&multicast != 0 || slices.Equal(mac, make(net.HardwareAddr, size)) {
			return a, refuse("mac %.100q: want a unicast hardware address of 6 bytes, like 02:00:5e:10:00:01", text)
		}
		a.mac = mac
	}
	return a, nil
}

func parseAddress(text string) (netip.Addr, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr().Unmap(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err == nil && addr.Zone() != "" {
		err = fmt.Errorf("%s is of one link only", addr)
	}
	return addr.Unmap(), err
}
