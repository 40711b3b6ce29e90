package pods

import (
	"encoding/json"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/ipam"
)

// TestBehindOthers: what plugins before ours said stays, and ours comes after it, in the version that was asked for.
func TestBehindOthers(t *testing.T) {
	c, err := parse(cni.Add, cni.Request{ContainerID: "abc", Interface: "net1", NetNS: "/run/netns/x", Config: json.RawMessage(`{
		"cniVersion": "0.4.0", "name": "other", "prevResult": {"cniVersion": "0.4.0",
		"interfaces": [{"name": "eth0", "sandbox": "/run/netns/x"}],
		"ips": [{"version": "4", "address": "192.0.2.7/24", "interface": 0}], "dns": {"nameservers": ["192.0.2.53"]}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	lease := ipam.Lease{Request: c.Request, Addresses: []netip.Addr{netip.MustParseAddr("fd00:10:244:3::2")}}
	got, err := result(c, lease, podnet.Result{HostLink: "wrp0", HostMAC: mac, PodMAC: mac}, Network{MTU: 1420})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
		"cniVersion": "0.4.0",
		"interfaces": [
			{"name": "eth0", "sandbox": "/run/netns/x"},
			{"mac": "02:00:00:00:00:01", "name": "wrp0"},
			{"mac": "02:00:00:00:00:01", "name": "net1", "sandbox": "/run/netns/x"}],
		"ips": [
			{"address": "192.0.2.7/24", "interface": 0, "version": "4"},
			{"address": "fd00:10:244:3::2/128", "gateway": "fe80::1", "interface": 2, "version": "6"}],
		"routes": [{"dst": "::/0", "gw": "fe80::1"}],
		"dns": {"nameservers": ["192.0.2.53"]}}`
	var wanted, given any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &given); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, given); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}
