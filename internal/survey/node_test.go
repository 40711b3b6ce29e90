package survey

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/ipam"
)

func lease(pod, link string, addrs ...string) Lease {
	l := Lease{Link: link}
	l.Key = ipam.Key{ContainerID: "c-" + pod, Interface: "eth0"}
	l.Pod = ipam.Pod{Namespace: "default", Name: pod}
	l.Addresses = addresses(addrs...)
	return l
}

func addresses(texts ...string) (addrs []netip.Addr) {
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}

func wire(link, of string, addrs ...string) Wire {
	return Wire{Link: link, Of: of, Addresses: addresses(addrs...)}
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// lines are findings as people see them.
func lines(found []Finding) (all []string) {
	for _, f := range found {
		all = append(all, f.String())
	}
	return all
}

func TestNode(t *testing.T) {
	gone := lease("gone", "wrp2", "10.244.1.3")
	gone.Gone = true
	nobodys := lease("", "wrp3", "10.244.1.4")
	nobodys.Pod, nobodys.Gone = ipam.Pod{}, true
	unwired := lease("web", "wrp1", "10.244.1.5")
	unwired.Unwired = true
	former := lease("", "", "10.99.0.7")
	former.HostLocal = "/var/lib/cni/networks/cbr0"
	cidrs := prefixes("10.244.1.0/24", "fd00:244::/64")
	for _, c := range []struct {
		name string
		node Node
		want []string
	}{
		{"nothing", Node{}, nil},
		{"all well", Node{
			CIDRs: cidrs, Leases: []Lease{lease("web", "wrp1", "10.244.1.2", "fd00:244::2"), former},
			Wires: []Wire{wire("wrp1", "pod default/web", "10.244.1.2", "fd00:244::2")},
		}, nil},
		{"no pod CIDR known yet", Node{Leases: []Lease{lease("web", "wrp1", "10.244.1.2")}, Wires: []Wire{wire("wrp1", "pod default/web", "10.244.1.2")}}, nil},
		{"leases without pods", Node{CIDRs: cidrs, Leases: []Lease{gone, nobodys}}, []string{
			"10.244.1.3: leased to pod default/gone (eth0 of container c-gone), of which nothing is left: it is taken back within half a minute, or at once by `warren ipam release 10.244.1.3`",
			"10.244.1.4: leased to container c- (eth0), of which nothing is left: it is taken back within half a minute, or at once by `warren ipam release 10.244.1.4`",
		}},
		{"a pod without its wire", Node{CIDRs: cidrs, Leases: []Lease{unwired}}, []string{
			"10.244.1.5: leased to pod default/web (eth0 of container c-web), whose interface wrp1 is gone: delete the pod, to have it made anew",
		}},
		{"a wire without a lease", Node{CIDRs: cidrs, Wires: []Wire{wire("wrp1", "pod default/web", "10.244.1.2")}}, []string{
			"wrp1: the interface of pod default/web, with the addresses 10.244.1.2, has no lease: delete the pod, to have it made anew; where there is none, `ip link delete wrp1`",
		}},
		{"an address on another's wire", Node{
			CIDRs: cidrs, Leases: []Lease{lease("web", "wrp1", "10.244.1.2"), lease("db", "wrp2", "10.244.1.3")},
			Wires: []Wire{wire("wrp1", "pod default/web"), wire("wrp2", "pod default/db", "10.244.1.3", "10.244.1.2")},
		}, []string{"10.244.1.2: leased to pod default/web (eth0 of container c-web), and routed to the interface of pod default/db (wrp2): delete both pods, to have them made anew"}},
		{"an address of nobody's grant", Node{
			CIDRs: cidrs, Leases: []Lease{lease("web", "wrp1", "10.9.0.2")}, Wires: []Wire{wire("wrp1", "pod default/web", "10.9.0.2")},
		}, []string{"10.9.0.2: leased to pod default/web (eth0 of container c-web), and in none of the node's pod CIDRs (10.244.1.0/24, fd00:244::/64): delete the pod, to have it made anew"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(c.node.Check())); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
