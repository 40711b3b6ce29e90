package pods

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
)

// given is what a plugin before the gate gave a pod, at these addresses.
func given(addresses ...string) string {
	ips := make([]string, len(addresses))
	for i, a := range addresses {
		ips[i] = fmt.Sprintf(`{"interface": 1, "address": %q}`, a)
	}
	return `{"cniVersion": "1.0.0", "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": "/run/netns/x"}], "ips": [` + strings.Join(ips, ",") +
		`], "dns": {"nameservers": ["10.96.0.10"]}}`
}

func behind(previous string) string {
	return `{"cniVersion": "1.0.0", "name": "theirs", "type": "warren-cni", "gate": true, "prevResult": ` + previous + "}"
}

// TestGate lets through what is the node's own and comes by links that the guard knows, and says of everything else why not.
func TestGate(t *testing.T) {
	gate := Gate{
		Stands: func() error { return nil },
		Own:    []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:10:244:1::/64")},
		Mesh:   []netip.Addr{netip.MustParseAddr("10.244.1.1")}, PodLinks: []string{"cni0", "veth*"},
		LinkTo: func(a netip.Addr) (string, error) {
			switch a.As16()[15] {
			case 2:
				return "cni0", nil
			case 3:
				return "vethabcd", nil
			case 4:
				return "br-7", nil
			}
			return "", errors.New("there is no way")
		},
	}
	closed := gate
	closed.Stands = func() error { return errors.New("the guard is away") }
	const later, config, decode, absent = types.ErrTryAgainLater, types.ErrInvalidNetworkConfig, types.ErrDecodingFailure, types.ErrPluginNotAvailable
	for name, tt := range map[string]struct {
		gate    Gate
		command cni.Command
		config  string
		code    uint
		says    string
	}{
		"by a bridge":          {gate, cni.Add, behind(given("10.244.1.2/24")), 0, ""},
		"by routed links":      {gate, cni.Add, behind(given("10.244.1.3/32", "fd00:10:244:1::3/128")), 0, ""},
		"no guard":             {closed, cni.Add, behind(given("10.244.1.2/24")), later, "the guard is away"},
		"another node's":       {gate, cni.Add, behind(given("10.244.2.2/24")), later, "10.244.2.2 is in none of the node's pod CIDRs"},
		"one of two":           {gate, cni.Add, behind(given("10.244.1.2/24", "fd00:10:244:2::2/64")), later, "fd00:10:244:2::2 is in none"},
		"the gateway":          {gate, cni.Add, behind(given("10.244.1.1/24")), later, "10.244.1.1 is the node's mesh address"},
		"an unknown link":      {gate, cni.Add, behind(given("10.244.1.4/24")), later, "link br-7, which is not among --pod-interfaces"},
		"no way":               {gate, cni.Add, behind(given("10.244.1.5/24")), later, "there is no way"},
		"no address":           {gate, cni.Add, behind(given()), later, "gave no address"},
		"nothing before":       {gate, cni.Add, `{"cniVersion": "1.0.0", "name": "theirs", "type": "warren-cni", "gate": true}`, config, "no prevResult"},
		"no gate":              {gate, cni.Add, `{"cniVersion": "1.0.0", "name": "theirs", "type": "warren-cni"}`, config, `want "gate": true`},
		"a gate of words":      {gate, cni.Add, `{"cniVersion": "1.0.0", "name": "theirs", "type": "warren-cni", "gate": "yes"}`, decode, "gate"},
		"a result of null":     {gate, cni.Add, behind(`{"cniVersion": "1.0.0", "ips": [null]}`), decode, "null"},
		"no address at all":    {gate, cni.Add, behind(given("pod")), decode, "pod"},
		"STATUS":               {gate, cni.Status, behind("{}"), 0, ""},
		"STATUS and no guard":  {closed, cni.Status, behind("{}"), absent, "the guard is away"},
		"CHECK and no guard":   {closed, cni.Check, behind(given("10.244.9.9/24")), 0, ""},
		"DEL and no guard":     {closed, cni.Del, behind(given("10.244.9.9/24")), 0, ""},
		"DEL of a pod of ours": {gate, cni.Del, `{"cniVersion": "1.0.0", "name": "warren", "type": "warren-cni"}`, config, "gives pods no network"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.gate.Call(tt.command, cni.Request{ContainerID: "c1", Interface: "eth0", NetNS: "/run/netns/x", Config: json.RawMessage(tt.config)})
			if tt.code == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if tt.command == cni.Add && (!strings.Contains(string(got), "10.96.0.10") || !strings.Contains(string(got), "cni0")) {
					t.Errorf("the result is not the one before: %s", got)
				}
				return
			}
			var e *types.Error
			if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("got %v, want code %d and %q", err, tt.code, tt.says)
			}
		})
	}
}
