package mesh_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/mesh"
)

// asValues lets cmp look at netip's values as values.
var asValues = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})

func TestOrderOfNodesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := parseAll(drawCluster(t))
		want := mesh.Compute(drawnLocal, nodes)
		got := mesh.Compute(drawnLocal, rapid.Permutation(nodes).Draw(t, "order"))
		if diff := cmp.Diff(want, got, asValues); diff != "" {
			t.Fatalf("another order of the nodes makes another result:\n%s", diff)
		}
	})
}

func TestComputeLeavesItsInputAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := drawCluster(t)
		nodes := parseAll(fields)
		mesh.Compute(drawnLocal, nodes)
		if diff := cmp.Diff(parseAll(fields), nodes, asValues); diff != "" {
			t.Fatalf("Compute changed its input:\n%s", diff)
		}
	})
}

// TestMalformedNodeIsAlone breaks one annotation of one node. Nobody else's peer, route or refusal may differ, whatever
// grants and keys the nodes quarrel about; if it is the local node, nothing may.
func TestMalformedNodeIsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := drawCluster(t)
		broken := &fields[rapid.IntRange(0, len(fields)-1).Draw(t, "broken")]
		breakage := rapid.SampledFrom(breakages).Draw(t, "breakage")
		if breakage.annotation == mesh.AnnotationPublicKey {
			broken.Annotations[mesh.AnnotationPublicKey] = keyOf("nobody else's").String() // a key that cannot be read holds nothing
		}
		before := mesh.Compute(drawnLocal, parseAll(fields))
		broken.Annotations[breakage.annotation] = breakage.value
		after := mesh.Compute(drawnLocal, parseAll(fields))
		lost := allowedIPsOf(before.Plan, broken.Name)
		drop(&before, broken.Name, lost)
		drop(&after, broken.Name, lost)
		if diff := cmp.Diff(before, after, asValues, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("breaking %s of %s changed more than that node:\n%s", breakage.annotation, broken.Name, diff)
		}
	})
}

// TestAllowedIPs says what promise 3 says of allowed IPs, against an acceptance of grants that is as plain as can be.
func TestAllowedIPs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := parseAll(drawCluster(t))
		accepted := acceptPlainly(nodes)
		plan := mesh.Compute(drawnLocal, nodes).Plan
		if diff := cmp.Diff(accepted[drawnLocal.Name], plan.Guard.Own, asValues, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("own grants (-want +got):\n%s", diff)
		}
		taken := map[netip.Prefix]string{}
		for _, own := range plan.Guard.Own {
			taken[own] = drawnLocal.Name
		}
		for _, peer := range plan.Lanes[0].Peers {
			claimed := nodes[slices.IndexFunc(nodes, func(n mesh.Node) bool { return n.Name == peer.Node })].Claim.PodCIDRs
			want := slices.DeleteFunc(slices.Clone(claimed), func(p netip.Prefix) bool { return !within(p, accepted[peer.Node]) })
			if diff := cmp.Diff(want, peer.AllowedIPs, asValues); diff != "" {
				t.Fatalf("allowed IPs of %s are not what it claims and was granted (-want +got):\n%s", peer.Node, diff)
			}
			for _, p := range peer.AllowedIPs {
				if !within(p, drawnLocal.ClusterCIDRs) {
					t.Fatalf("%s of %s is outside the cluster", p, peer.Node)
				}
				for other, owner := range taken {
					if owner != peer.Node && other.Overlaps(p) {
						t.Fatalf("%s of %s overlaps %s of %s", p, peer.Node, other, owner)
					}
				}
				taken[p] = peer.Node
			}
		}
	})
}

// TestPlanHangsTogether checks that the parts of a plan fit each other.
func TestPlanHangsTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := mesh.Compute(drawnLocal, parseAll(drawCluster(t))).Plan
		keys := map[string]string{drawnLocal.PublicKey.String(): drawnLocal.Name}
		reachable := map[netip.Prefix]bool{}
		for _, peer := range plan.Lanes[0].Peers {
			if holder, ok := keys[peer.PublicKey.String()]; ok {
				t.Fatalf("%s and %s have one key", holder, peer.Node)
			}
			keys[peer.PublicKey.String()] = peer.Node
			for _, p := range peer.AllowedIPs {
				reachable[p] = true
			}
		}
		unreachable := slices.Clone(drawnLocal.ClusterCIDRs)
		for _, r := range plan.Routes {
			if r.Unreachable() {
				unreachable = slices.DeleteFunc(unreachable, func(p netip.Prefix) bool { return p == r.Destination })
				continue
			}
			if !reachable[r.Destination] || r.Device != drawnLocal.Interface || !slices.Contains(plan.Guard.Mesh, r.Source) {
				t.Fatalf("route %s leads nowhere or comes from nowhere", r)
			}
			delete(reachable, r.Destination)
		}
		for p := range reachable {
			if slices.ContainsFunc(plan.Guard.Mesh, func(a netip.Addr) bool { return a.Is4() == p.Addr().Is4() }) {
				t.Fatalf("no route to %s", p)
			}
		}
		if len(unreachable) > 0 {
			t.Fatalf("no unreachable route beneath %s", unreachable)
		}
	})
}

// TestNobodyVanishes: whoever is no peer is waited for or refused, and nobody is refused who does not exist.
func TestNobodyVanishes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := parseAll(drawCluster(t))
		result := mesh.Compute(drawnLocal, nodes)
		told := map[string]bool{drawnLocal.Name: true}
		for _, p := range result.Plan.Lanes[0].Peers {
			told[p.Node] = true
		}
		for _, name := range result.Waiting {
			if told[name] {
				t.Fatalf("%s is waited for, and is a peer or is waited for twice", name)
			}
			told[name] = true
		}
		exists := map[string]bool{}
		for _, n := range nodes {
			exists[n.Name] = true
		}
		seen := map[mesh.Refusal]bool{}
		for _, r := range result.Refusals {
			if !exists[r.Node] || !slices.Contains(mesh.Reasons, r.Reason) || r.Detail == "" || seen[r] {
				t.Fatalf("refusal of nobody, for no reason, or said twice: %+v", r)
			}
			told[r.Node], seen[r] = true, true
		}
		for name := range exists {
			if !told[name] {
				t.Fatalf("%s is no peer and nobody says why", name)
			}
		}
	})
}

// acceptPlainly accepts grants node by node, the oldest first.
func acceptPlainly(nodes []mesh.Node) map[string][]netip.Prefix {
	byAge := slices.Clone(nodes)
	slices.SortFunc(byAge, func(a, b mesh.Node) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		if a.UID < b.UID {
			return -1
		}
		return 1
	})
	accepted := map[string][]netip.Prefix{}
	for _, n := range byAge {
		for _, p := range n.Grants {
			if within(p, drawnLocal.ClusterCIDRs) && !overlaps(p, drawnLocal.ServiceCIDRs) && !overlapsAnother(p, n.Name, accepted) {
				accepted[n.Name] = append(accepted[n.Name], p)
			}
		}
	}
	return accepted
}

func overlapsAnother(p netip.Prefix, name string, accepted map[string][]netip.Prefix) bool {
	for other, theirs := range accepted {
		if other != name && overlaps(p, theirs) {
			return true
		}
	}
	return false
}

func overlaps(p netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, p.Overlaps)
}

func within(p netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Overlaps(p) && o.Bits() <= p.Bits() })
}

func allowedIPsOf(plan mesh.Plan, name string) []netip.Prefix {
	for _, p := range plan.Lanes[0].Peers {
		if p.Node == name {
			return p.AllowedIPs
		}
	}
	return nil
}

// drop takes everything of one node out of a result.
func drop(r *mesh.Result, name string, allowed []netip.Prefix) {
	lane := &r.Plan.Lanes[0]
	lane.Peers = slices.DeleteFunc(lane.Peers, func(p *mesh.Peer) bool { return p.Node == name })
	r.Plan.Routes = slices.DeleteFunc(r.Plan.Routes, func(route *mesh.Route) bool {
		return !route.Unreachable() && slices.Contains(allowed, route.Destination)
	})
	r.Refusals = slices.DeleteFunc(r.Refusals, func(refusal mesh.Refusal) bool { return refusal.Node == name })
	r.Waiting = slices.DeleteFunc(r.Waiting, func(waiting string) bool { return waiting == name })
}
