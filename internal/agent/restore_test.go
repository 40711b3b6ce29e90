package agent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/wg"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// TestMissing: of a plan on disk only that is added which takes nothing from what the kernel holds.
func TestMissing(t *testing.T) {
	key := func(n byte) identity.PublicKey { return identity.PublicKey{n} }
	peer := func(n byte, allowed ...string) *mesh.Peer {
		return &mesh.Peer{PublicKey: key(n), AllowedIPs: prefixes(allowed...)}
	}
	held := func(n byte, allowed ...string) wg.PeerStatus {
		return wg.PeerStatus{PublicKey: key(n), AllowedIPs: prefixes(allowed...)}
	}
	onDisk := []*mesh.Peer{peer(1, "10.244.1.0/24", "fd00:1::/64"), peer(2, "10.244.2.0/24", "fd00:2::/64")}
	for _, c := range []struct {
		name   string
		held   []wg.PeerStatus
		peers  []*mesh.Peer
		routes []string
	}{
		{"nothing is held", nil, onDisk, []string{"10.244.0.0/16", "10.244.1.0/24", "fd00:1::/64", "10.244.2.0/24", "fd00:2::/64"}},
		{
			"all is held", []wg.PeerStatus{held(1, "10.244.1.0/24", "fd00:1::/64"), held(2, "10.244.2.0/24", "fd00:2::/64")}, nil,
			[]string{"10.244.0.0/16", "10.244.1.0/24", "fd00:1::/64", "10.244.2.0/24", "fd00:2::/64"},
		},
		{
			"one is held, with another prefix", []wg.PeerStatus{held(1, "10.244.7.0/24")}, onDisk[1:],
			[]string{"10.244.0.0/16", "10.244.2.0/24", "fd00:2::/64"},
		},
		{
			"a younger peer has the prefixes of one that is gone", []wg.PeerStatus{held(3, "10.244.1.0/24", "fd00:1::/64")}, onDisk[1:],
			[]string{"10.244.0.0/16", "10.244.1.0/24", "fd00:1::/64", "10.244.2.0/24", "fd00:2::/64"},
		},
		{
			"a younger peer has a part of it", []wg.PeerStatus{held(3, "10.244.1.128/25")}, []*mesh.Peer{peer(1, "fd00:1::/64"), onDisk[1]},
			[]string{"10.244.0.0/16", "fd00:1::/64", "10.244.2.0/24", "fd00:2::/64"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := mesh.Plan{Lanes: []mesh.Lane{{Peers: onDisk}}}
			plan.Routes = append(plan.Routes, &mesh.Route{Destination: prefixes("10.244.0.0/16")[0], Metric: mesh.UnreachableMetric})
			for _, p := range onDisk {
				for _, to := range p.AllowedIPs {
					plan.Routes = append(plan.Routes, &mesh.Route{Destination: to, Device: "warren0"})
				}
			}
			peers, routes := missing(plan, c.held)
			compare := cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{})
			if diff := cmp.Diff(c.peers, peers, compare); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
			var to []string
			for _, r := range routes {
				to = append(to, r.Destination.String())
			}
			if diff := cmp.Diff(c.routes, to); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
			if len(onDisk[0].AllowedIPs) != 2 {
				t.Fatal("the plan itself was changed")
			}
		})
	}
}

// TestFits: a plan that was made under other flags is not used.
func TestFits(t *testing.T) {
	plan := mesh.Plan{
		Lanes: []mesh.Lane{{Name: "warren0", ListenPort: 51820}}, Guard: mesh.Guard{Cluster: prefixes("10.244.0.0/16", "fd00::/48")},
	}
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"the same", Config{Interface: "warren0", ListenPort: 51820, ClusterCIDRs: prefixes("10.244.0.0/16", "fd00::/48")}, ""},
		{"another interface", Config{Interface: "mesh0", ListenPort: 51820, ClusterCIDRs: prefixes("10.244.0.0/16", "fd00::/48")}, "--interface is mesh0"},
		{"another port", Config{Interface: "warren0", ListenPort: 4500, ClusterCIDRs: prefixes("10.244.0.0/16", "fd00::/48")}, "--listen-port is 4500"},
		{"other pod CIDRs", Config{Interface: "warren0", ListenPort: 51820, ClusterCIDRs: prefixes("10.244.0.0/16")}, "--cluster-cidr is [10.244.0.0/16]"},
	} {
		err := (&Agent{config: c.config}).fits(plan)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
