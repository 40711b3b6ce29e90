package pods

import (
	"errors"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/warren-mesh/warren/internal/cni"
)

// TestAsked: a runtime asks for addresses and a hardware address by the capabilities of the configuration, and has them or an error.
func TestAsked(t *testing.T) {
	n := newNode(t, cidr4, "fd00:10:244:3::/64")
	n.start(t, -1, 0)
	n.ready(t)
	tool, list := n.network(t, "1.0.0")
	conf := strings.Replace(string(list.Bytes), `"type": "warren-cni"`, `"type": "warren-cni", "capabilities": {"ips": true, "mac": true}`, 1)
	list, err := libcni.NetworkConfFromBytes([]byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	add := func(s *sandbox, args map[string]any) (*types100.Result, error) {
		c := s.conf("eth0")
		c.CapabilityArgs = args
		added, err := tool.AddNetworkList(t.Context(), list, c)
		if err != nil {
			return nil, err
		}
		return types100.NewResultFromResult(added)
	}
	const mac = "02:00:5e:10:00:01"
	first, second := n.sandbox(t, "first"), n.sandbox(t, "second")
	defer first.close()
	defer second.close()
	for range 2 { // The same again is the same.
		result, err := add(first, map[string]any{"ips": []string{"10.244.3.77/24", "fd00:10:244:3::77"}, "mac": mac})
		if err != nil {
			t.Fatal(err)
		}
		if got := result.IPs[0].Address.String() + " " + result.IPs[1].Address.String() + " " + result.Interfaces[1].Mac; got != "10.244.3.77/32 fd00:10:244:3::77/128 "+mac {
			t.Errorf("it has %s", got)
		}
	}
	if got := admitted(t); len(got) != 1 || !strings.HasSuffix(got[0], mac) {
		t.Errorf("the guard holds %s", got)
	}
	for _, target := range []string{"10.244.3.1", "fd00:10:244:3::1"} {
		if out, err := in(first, "ping", "-n", "-q", "-c1", "-W2", target); err != nil {
			t.Errorf("%s: %s", target, out)
		}
	}
	var e *types.Error
	if _, err := add(second, map[string]any{"ips": []string{"10.244.3.77"}}); !errors.As(err, &e) || e.Code != cni.ErrDenied || !strings.Contains(e.Error(), "leased already") {
		t.Errorf("an address of another pod: %v", err)
	}
	if _, err := add(second, map[string]any{"ips": []string{"10.244.9.1"}}); !errors.As(err, &e) || e.Code != types.ErrInvalidNetworkConfig ||
		!strings.Contains(e.Error(), "10.244.3.0/24") {
		t.Errorf("an address of no pod CIDR: %v", err)
	}
	if _, err := add(second, nil); err != nil {
		t.Errorf("nothing asked for: %v", err)
	}
	for _, s := range []*sandbox{first, second} {
		if err := n.del(s); err != nil {
			t.Error(err)
		}
	}
	n.empty(t)
}
