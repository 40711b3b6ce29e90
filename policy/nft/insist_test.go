package nft

import (
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/conntrack"
	"github.com/warren-mesh/warren/policy/revoke"
)

// TestInsists has a revocation's time go by while both ends of a UDP flow send. The end that may open a flow itself does not get it back by that; the
// next agent knows of it, and lets it go when it is allowed. For what revocation never was about nothing is kept.
func TestInsists(t *testing.T) {
	l := build(t)
	table := newTable(t, Options{})
	tracker, err := conntrack.New()
	if err != nil {
		t.Fatal(err)
	}
	defer tracker.Close()
	open := ruleset(nil, nil, boundA("", ""), boundB("", ""))
	closed := ruleset(nil, []policy.Chain{out(port(policy.UDP, 9000, 9000, policy.Deny))}, boundA("", "egress-1"), boundB("", ""))
	settle := func(table *Table, now policy.Ruleset) revoke.Result {
		t.Helper()
		v := revoke.New(table, tracker)
		v.All(now)
		result, err := v.Settle(func() (revoke.State, error) { return revoke.State{Rules: now}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	for _, f := range []policy.SetKind{policy.Addresses4, policy.Addresses6} {
		set(t, table, open)
		run(t, "conntrack -F")
		s := l.open("udp", l.hosts["a"], l.hosts["b"], f)
		set(t, table, closed)
		if got := settle(table, closed); got.Revoked != 1 {
			t.Fatalf("%+v", got)
		}
		for range 2 {
			if s.carries(false) || s.carries(true) {
				t.Error("it still carries")
			}
			run(t, "nft flush set inet %s revoked4; nft flush set inet %s revoked6", TableName, TableName) // Their time is over.
		}
		next := newTable(t, Options{})
		if drift := set(t, next, closed); drift != (Drift{}) {
			t.Errorf("drift %+v", drift)
		}
		if got := settle(next, closed); got.Restored != 0 || s.carries(false) || s.carries(true) {
			t.Errorf("the next agent: %+v, or it carries", got)
		}
		set(t, next, open)
		if got := settle(next, open); got.Restored == 0 || !s.carries(false) || !s.carries(true) {
			t.Errorf("allowed again: %+v, or it does not carry", got)
		}
		s.close()
	}
}

// TestRevokedIsMended: what was lost with the table is revoked again.
func TestRevokedIsMended(t *testing.T) {
	namespace(t)
	table := newTable(t, Options{})
	set(t, table, every())
	flow := policy.Flow{Protocol: policy.TCP, From: netip.MustParseAddrPort("10.0.0.5:4000"), To: netip.MustParseAddrPort("10.0.0.6:80")}
	if err := table.Revoke([]policy.Flow{flow}); err != nil {
		t.Fatal(err)
	}
	run(t, "nft delete table inet %s", TableName)
	set(t, table, every())
	next := newTable(t, Options{})
	set(t, next, every())
	if known := next.Revoked(); len(known) != 1 || known[0] != flow {
		t.Errorf("the kernel has %v", known)
	}
}
