package agent

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/mesh"
)

// lastMigrating is the last good plan of a node on its way: n2 has a route, n3 was being called, and n4, which had answered, has no claim.
func lastMigrating() mesh.Plan {
	return mesh.Plan{
		Lanes: []mesh.Lane{{Peers: []*mesh.Peer{{Node: "n2", AllowedIPs: prefixes("10.244.2.0/24")}, {Node: "n3", AllowedIPs: prefixes("10.244.3.0/24")}}}},
		Routes: []*mesh.Route{
			{Destination: prefixes("10.244.0.0/16")[0], Metric: mesh.UnreachableMetric},
			{Destination: prefixes("10.244.2.0/24")[0], Device: "warren0", Table: mesh.MigrationTable},
		},
		Guard:    mesh.Guard{OldLinks: []string{"flannel.1"}, OldTo: prefixes("10.244.3.0/24"), OldFrom: prefixes("10.244.2.0/24", "10.244.3.0/24")},
		Migrated: []string{"n2", "n4"},
	}
}

// TestRecall: an agent that was started again goes back to clear with nobody, and without the switch with nobody ever.
func TestRecall(t *testing.T) {
	a := &Agent{config: Config{MigrateFrom: []string{"flannel.1"}}}
	plan := lastMigrating()
	a.recall(&plan)
	nodes := []*mesh.Node{{Name: "n1"}, {Name: "n2"}, {Name: "n3"}, {Name: "n4"}}
	a.migration.adopted = true
	var local mesh.Local
	if err := a.migrate(&local, nodes); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"n2": true, "n4": true}, local.Answered); diff != "" || !slices.Equal(local.Migrated, []string{"n2", "n4"}) {
		t.Errorf("migrated %q, answered (-want +got):\n%s", local.Migrated, diff)
	}
	if a.moved([]string{"n4", "n2"}) || !a.moved([]string{"n2", "n3", "n4"}) {
		t.Error("it is not seen who is new among those that have moved")
	}
	if err := a.migrate(&local, nodes[:3]); err != nil || local.Answered["n4"] {
		t.Errorf("a Node that is gone has answered: %v (%v)", local.Answered, err)
	}

	off, without := &Agent{}, lastMigrating()
	off.recall(&without)
	if g := without.Guard; len(g.OldLinks)+len(g.OldTo)+len(g.OldFrom)+len(without.Migrated) > 0 || without.Routes[1].Table != 0 {
		t.Errorf("with the switch off: %s", without)
	}

	// The switch is put on again, after all had moved and it was off: nobody is spoken to in clear again.
	settled := &Agent{config: a.config}
	settled.recall(&without)
	if !slices.Equal(without.Migrated, []string{"n2"}) || without.Routes[1].Table != mesh.MigrationTable || len(without.Guard.OldTo) > 0 {
		t.Errorf("with the switch on again: migrated %q\n%s", without.Migrated, without)
	}
}

// TestInFlight: others are told somewhat later than it is so that nothing leaves in clear, and not again when the agent is started anew.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reconciled := make(chan struct{})
		a := &Agent{reconcileLoop: loop.New(func(context.Context) error { reconciled <- struct{}{}; return nil }, loop.Options{})}
		go a.reconcileLoop.Run(t.Context())
		<-reconciled // the first, at once
		sends, moved := lastMigrating(), mesh.Plan{}
		if a.sendsInClear(moved) {
			t.Error("a node that sent nothing in clear says that it does")
		}
		if !a.sendsInClear(sends) {
			t.Error("a node that sends in clear does not say so")
		}
		time.Sleep(time.Hour)
		start := time.Now()
		if !a.sendsInClear(moved) {
			t.Error("what is under way is to be refused")
		}
		time.Sleep(inFlight / 2)
		if !a.sendsInClear(moved) {
			t.Error("what is under way is to be refused after half of the time")
		}
		<-reconciled
		if took := time.Since(start); took != inFlight || a.sendsInClear(moved) {
			t.Errorf("after %s it still says that it sends in clear, or not after %s", took, inFlight)
		}
	})
}

// TestHolders: who has a route by the lane is known by its prefix.
func TestHolders(t *testing.T) {
	nodes := []*mesh.Node{{Name: "n1", Grants: prefixes("10.244.1.0/24", "fd00:1::/64")}, {Name: "n2", Grants: prefixes("10.244.2.0/24")}, {Name: "n3"}}
	if got := holders(nodes, prefixes("fd00:1::/64")); !slices.Equal(got, []string{"n1"}) {
		t.Errorf("holders: %q", got)
	}
}
