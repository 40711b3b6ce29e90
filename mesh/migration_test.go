package mesh_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/mesh"
)

var drawnNames = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"n1", "n2", "n3", "n4", "n5", "gone"}), rapid.ID[string])

// drawMigration draws who has answered, and to whom of them the kernel has routes.
func drawMigration(t *rapid.T, local *mesh.Local) {
	local.Answered, local.Migrated = map[string]bool{}, nil
	for _, name := range drawnNames.Draw(t, "answered") {
		local.Answered[name] = true
		if rapid.Bool().Draw(t, name+" has a route") {
			local.Migrated = append(local.Migrated, name)
		}
	}
	slices.Sort(local.Migrated)
}

// TestMigrationIsNarrow: only what is granted to nodes that have not come as far is sent or heard in clear, each of them is, and who has
// answered is reached by the lane or not at all. Without the switch the plan is what it would be anyway.
func TestMigrationIsNarrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := parseAll(drawCluster(t))
		local := drawnLocal
		plain := mesh.Compute(local, nodes)
		drawMigration(t, &local)
		if off := mesh.Compute(local, nodes); !off.Plan.Equal(plain.Plan) || len(off.InClear) > 0 {
			t.Fatalf("without the switch the plan is\n%s\nwant\n%s", off.Plan, plain.Plan)
		}
		local.OldLinks = []string{"flannel.1"}
		result := mesh.Compute(local, nodes)
		accepted := acceptPlainly(nodes)
		var to, from []netip.Prefix
		for _, n := range nodes {
			if n.Name == local.Name {
				continue
			}
			moved := slices.Contains(local.Migrated, n.Name)
			if !moved {
				to = append(to, accepted[n.Name]...)
			}
			if !moved || n.Claim.Migrating {
				from = append(from, accepted[n.Name]...)
			}
			for _, p := range allowedIPsOf(result.Plan, n.Name) {
				leads := func(r *mesh.Route) bool { return r.Destination == p && !r.Unreachable() }
				if slices.ContainsFunc(result.Plan.Routes, leads) != (local.Answered[n.Name] && slices.ContainsFunc(plain.Plan.Routes, leads)) {
					t.Fatalf("%s, answered %v: routes %v", n.Name, local.Answered[n.Name], result.Plan.Routes)
				}
			}
			if listed := slices.Contains(result.Plan.Migrated, n.Name); listed != local.Answered[n.Name] {
				t.Fatalf("%s is among the migrated: %v", n.Name, listed)
			}
		}
		guard := result.Plan.Guard
		for _, c := range []struct{ want, got []netip.Prefix }{{to, guard.OldTo}, {from, guard.OldFrom}} {
			slices.SortFunc(c.want, netip.Prefix.Compare)
			got := slices.SortedFunc(slices.Values(c.got), netip.Prefix.Compare)
			if !slices.Equal(c.want, got) {
				t.Fatalf("open for %s, want %s", got, c.want)
			}
		}
		for _, p := range slices.Concat(guard.OldTo, guard.OldFrom) {
			if overlaps(p, guard.Own) {
				t.Fatalf("%s is this node's own", p)
			}
		}
	})
}
