package pods

import (
	"bytes"
	"net"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/ipam"
)

// result is what the runtime is told, in the version that it asked in: the two ends of the wire, the addresses on the pod's end, and a
// default route for each family. Where plugins went before, it goes behind what they said.
func result(c call, lease ipam.Lease, wired podnet.Result, network Network) ([]byte, error) {
	whole := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	if c.conf.PrevResult != nil {
		before, err := types100.NewResultFromResult(c.conf.PrevResult)
		if err != nil {
			return nil, types.NewError(types.ErrDecodingFailure, "converting the previous result", err.Error())
		}
		whole = before
	}
	inPod := len(whole.Interfaces) + 1
	whole.Interfaces = append(whole.Interfaces,
		&types100.Interface{Name: wired.HostLink, Mac: wired.HostMAC.String(), Mtu: network.MTU},
		&types100.Interface{Name: lease.Interface, Mac: wired.PodMAC.String(), Mtu: network.MTU, Sandbox: lease.NetNS})
	for _, a := range lease.Addresses {
		gateway := net.IP(podnet.Gateway(a).AsSlice())
		whole.IPs = append(whole.IPs, &types100.IPConfig{
			Interface: types100.Int(inPod), Gateway: gateway,
			Address: net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())},
		})
		anywhere := net.IPNet{IP: make(net.IP, a.BitLen()/8), Mask: net.CIDRMask(0, a.BitLen())}
		whole.Routes = append(whole.Routes, &types.Route{Dst: anywhere, GW: gateway})
	}
	if whole.DNS.IsEmpty() {
		whole.DNS = c.conf.DNS
	}
	return c.print(whole)
}

// print is a result in the version that the runtime asked in.
func (c call) print(whole types.Result) ([]byte, error) {
	asked, err := whole.GetAsVersion(c.conf.CNIVersion)
	if err != nil {
		return nil, types.NewError(types.ErrIncompatibleCNIVersion, "converting the result", err.Error())
	}
	var text bytes.Buffer
	err = asked.PrintTo(&text)
	return text.Bytes(), err
}
