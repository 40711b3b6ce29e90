package pods

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/policy"
)

// TestPolicyGate binds the link that leads to the pod, and says otherwise why no policy could be enforced.
func TestPolicyGate(t *testing.T) {
	var bound []policy.Local
	open := PolicyGate{
		Stands: func() error { return nil },
		Lead: func(addrs []netip.Addr, named []string) (podnet.Lead, error) {
			if diff := cmp.Diff([]string{"cni0"}, named); diff != "" {
				t.Errorf("links of the host (-want +got):\n%s", diff)
			}
			return podnet.Lead{Link: "vetha", Index: 7}, nil
		},
		Bind: func(_ context.Context, lead podnet.Lead, l policy.Local) error {
			if lead.Index != 7 {
				t.Errorf("bound is %+v", lead)
			}
			bound = append(bound, l)
			return nil
		},
	}
	closed, bridged, unknown := open, open, open
	closed.Stands = func() error { return errors.New("no nftables") }
	bridged.Lead = func([]netip.Addr, []string) (podnet.Lead, error) {
		return podnet.Lead{}, errors.New("link vetha is a port of bridge cni0")
	}
	unknown.Bind = func(context.Context, podnet.Lead, policy.Local) error { return errors.New("waited in vain") }
	const later, config, decode, environment, absent = types.ErrTryAgainLater, types.ErrInvalidNetworkConfig, types.ErrDecodingFailure, types.ErrInvalidEnvironmentVariables, types.ErrPluginNotAvailable
	const web = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"
	routed := behind(given("10.244.1.3/32", "fd00:10:244:1::3/128"))
	for name, tt := range map[string]struct {
		gate         PolicyGate
		command      cni.Command
		config, args string
		code         uint
		says         string
	}{
		"a routed link":       {open, cni.Add, routed, web, 0, ""},
		"no kernel":           {closed, cni.Add, routed, web, later, "no nftables"},
		"bridged":             {bridged, cni.Add, routed, web, config, "policy cannot be enforced on pod shop/web; link vetha is a port of bridge cni0"},
		"an unknown pod":      {unknown, cni.Add, routed, web, later, "waited in vain"},
		"no pod":              {open, cni.Add, routed, "", environment, "CNI_ARGS name no pod"},
		"nothing before":      {open, cni.Add, `{"cniVersion": "1.0.0", "name": "theirs", "type": "warren-cni", "gate": true}`, web, config, "no prevResult"},
		"no gate":             {open, cni.Add, `{"cniVersion": "1.0.0", "name": "theirs", "type": "warren-cni"}`, web, config, `want "gate": true`},
		"a result of null":    {open, cni.Add, behind(`{"cniVersion": "1.0.0", "interfaces": [null]}`), web, decode, "null"},
		"STATUS":              {open, cni.Status, behind("{}"), "", 0, ""},
		"STATUS, no kernel":   {closed, cni.Status, behind("{}"), "", absent, "no nftables"},
		"DEL and no kernel":   {closed, cni.Del, routed, web, 0, ""},
		"CHECK and no kernel": {closed, cni.Check, routed, web, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bound = nil
			request := cni.Request{ContainerID: "c1", Interface: "eth0", NetNS: "/run/netns/x", Args: tt.args, Config: json.RawMessage(tt.config)}
			got, err := tt.gate.Call(t.Context(), tt.command, request)
			if tt.code != 0 {
				var e *types.Error
				if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Error(), tt.says) || len(bound) > 0 {
					t.Errorf("got %v, want code %d and %q; bound is %v", err, tt.code, tt.says, bound)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []policy.Local
			if tt.command == cni.Add {
				want = []policy.Local{{Interface: "vetha", PodKey: policy.PodKey{Namespace: "shop", Name: "web"},
					Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.3"), netip.MustParseAddr("fd00:10:244:1::3")}}}
				if !strings.Contains(string(got), "10.96.0.10") || !strings.Contains(string(got), "cni0") {
					t.Errorf("the result is not the one before: %s", got)
				}
			}
			if diff := cmp.Diff(want, bound, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("bound (-want +got):\n%s", diff)
			}
		})
	}
}
