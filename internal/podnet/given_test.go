package podnet

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// TestGiven: what pods were given is known of the kernel, of several interfaces each, whatever they have made of it, and of pods alone.
func TestGiven(t *testing.T) {
	node(t)
	a, b := newPod(t, "a", "10.244.0.5", "fd00:10:244::5"), newPod(t, "b", "fd00:10:244::6")
	second := *a
	second.Interface, second.Addresses = "net1", []netip.Addr{netip.MustParseAddr("10.244.0.7")}
	want := map[string]net.HardwareAddr{}
	for _, p := range []*pod{a, b, &second} {
		r := p.attach(t)
		want[r.HostLink] = r.PodMAC
	}
	run(t, a.in("ip link set eth0 address 02:00:00:00:00:66"))
	run(t, "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:01 dev uplink nud permanent")
	run(t, "ip link add wrpforeign type veth peer name other")
	run(t, "ip link set wrpforeign up")
	run(t, "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:01 dev wrpforeign nud permanent")
	got, err := Given()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("given (-want +got), %v:\n%s", err, diff)
	}
	link := HostLink("default", "a", "net1")
	run(t, "ip neigh add 10.244.0.99 lladdr 02:00:00:00:00:01 dev "+link+" nud permanent")
	delete(want, link)
	if got, err = Given(); cmp.Diff(want, got) != "" || err != nil {
		t.Errorf("with a neighbour of somebody else: given (-want +got), %v:\n%s", err, cmp.Diff(want, got))
	}
}

// TestNeighboursAfterAnything: what was on the stack before does not matter to the kernel.
func TestNeighboursAfterAnything(t *testing.T) {
	node(t)
	e, err := newEnd()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for depth := range 10 {
		litter(depth)
		if _, err := e.neighbours(netlink.FAMILY_V4); err != nil {
			t.Fatal(err)
		}
	}
}

// litter leaves something on the stack.
func litter(depth int) (sum byte) {
	var b [256]byte
	for i := range b {
		b[i] = 0xff
	}
	if depth > 0 {
		sum = litter(depth - 1)
	}
	return sum + b[depth]
}
