package podnet

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestLeads: the link that leads to a pod is told where that is certain, and else why it is not.
func TestLeads(t *testing.T) {
	node(t)
	for command := range strings.SplitSeq(`ip link add vetha type veth peer name a0
ip link add vethb type veth peer name b0
ip link add vethc type veth peer name c0
ip link add cni0 type bridge
ip tuntap add dev tap7 mode tap
ip link set vethc master cni0
ip address add 10.244.4.1/24 dev cni0`, "\n") {
		run(t, command)
	}
	for _, link := range []string{"vetha", "a0", "vethb", "b0", "vethc", "c0", "cni0", "tap7"} {
		run(t, "ip link set "+link+" up")
	}
	for _, route := range []string{
		"10.244.1.5 dev vetha", "fd00:244::5 dev vetha", "10.244.1.6 dev vethb", "fd00:244::7 dev vetha", "10.244.2.0/24 dev vethb", "10.244.3.5 via 10.244.1.6",
		"10.244.5.5 dev vethc", "10.244.6.5 dev tap7",
	} {
		run(t, "ip route add "+route)
	}
	leads, err := NewLeads()
	if err != nil {
		t.Fatal(err)
	}
	defer leads.Close()
	links, err := leads.Links()
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(links)); !slices.Contains(got, "vetha") || !slices.Contains(got, "cni0") {
		t.Errorf("links: %q", got)
	}
	for name, tt := range map[string]struct {
		addresses, named string
		link             string
		says             string
	}{
		"one address":           {"10.244.1.5", "", "vetha", ""},
		"both families":         {"10.244.1.5 fd00:244::5", "vetha", "vetha", ""},
		"what a plugin invents": {"10.244.1.5", "caliunknown", "vetha", ""},
		"two links":             {"10.244.1.6 fd00:244::7", "", "", "link vetha leads to fd00:244::7, and link vethb to another address of it"},
		"of a range":            {"10.244.2.5", "", "", "link vethb leads to all of 10.244.2.0/24, and not to 10.244.2.5 alone"},
		"by a gateway":          {"10.244.3.5", "", "", "10.244.3.5 is reached by the default route or a gateway"},
		"by a bridge":           {"10.244.4.5", "", "", "bridge cni0 leads to 10.244.4.5, and what pods of one bridge send each other passes none"},
		"by a bridge, named":    {"10.244.4.5", "cni0 vethc", "", "link vethc is a port of bridge cni0"},
		"by a bridge's port":    {"10.244.5.5", "", "", "link vethc is a port of bridge cni0"},
		"by no veth":            {"10.244.6.5", "", "", "link tap7 leads to 10.244.6.5, and it is of type tuntap"},
		"the node's own":        {"10.244.4.1", "", "", "10.244.4.1 is the node's own"},
		"nobody's":              {"203.0.113.9", "", "", ""},
		"no address":            {"", "", "", "no address"},
	} {
		t.Run(name, func(t *testing.T) {
			var addrs []netip.Addr
			for _, a := range strings.Fields(tt.addresses) {
				addrs = append(addrs, netip.MustParseAddr(a))
			}
			lead, err := leads.To(addrs, strings.Fields(tt.named))
			if tt.link != "" {
				if err != nil || lead != (Lead{tt.link, links[tt.link]}) {
					t.Errorf("%+v, %v, want %s", lead, err, tt.link)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%+v, %v, want it to say %q", lead, err, tt.says)
			}
			if wants := errors.Is(err, ErrShared); wants != strings.HasSuffix(err.Error(), want) {
				t.Errorf("it does not say what would be right: %v", err)
			}
		})
	}
}
