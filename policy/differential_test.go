package policy_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/policytest"
)

// TestDifferential tells an index what happened until a world was as it is. Its ruleset is held against the world itself, and told otherwise,
// in another order, merged or repeated, it ends with the same, byte for byte.
func TestDifferential(t *testing.T) {
	o := policytest.Options{Pods: 6, Policies: 4, ClusterPolicies: 4, Unsound: true, Previews: true, Shared: true}
	policytest.Check(t, func(t *rapid.T) {
		h := policytest.Histories(o, rapid.IntRange(1, o.Pods).Draw(t, "local")).Draw(t, "history")
		r := h.AtOnce().Ruleset()
		judgeBoth(t, h.World, r, h.Locals)
		for _, way := range policytest.Ways {
			if diff := cmp.Diff(r.String(), told(t, way.Of(t, h.Events))); diff != "" {
				t.Fatalf("%s, it ends otherwise (-at once +told):\n%s\n%s", way.Name, diff, policytest.Describe(h.World))
			}
		}
	})
}

// told is the ruleset of an index that was told of events, in words. The deltas that it handed out meanwhile come to the same.
func told(t *rapid.T, events []policytest.Event) string {
	t.Helper()
	x := policy.NewIndex()
	shadow := policy.Ruleset{Sets: map[string]policy.Set{}, Chains: map[string]policy.Chain{}, Pods: map[string]policy.Binding{}}
	for len(events) > 0 {
		batch := rapid.IntRange(1, len(events)).Draw(t, "batch")
		policytest.Tell(x, events[:batch])
		events = events[batch:]
		if err := apply(&shadow, x.Take()); err != nil {
			t.Fatal(err)
		}
	}
	r := x.Ruleset()
	if diff := cmp.Diff(r, shadow, exact); diff != "" {
		t.Fatalf("the deltas (-ruleset +applied):\n%s", diff)
	}
	return r.String()
}

func judgeBoth(t *rapid.T, w policy.World, r policy.Ruleset, locals []policy.Local) {
	t.Helper()
	packets := policytest.Packets(w)
	for _, l := range locals {
		b, bound := r.Pods[l.Interface]
		if !bound {
			t.Fatalf("%s of %s is not bound\n%s", l.Interface, l.PodKey, policytest.Describe(w))
		}
		for _, p := range packets {
			// Whose named port it is at an address of two pods, packets do not tell.
			if owners(w, p.To) > 1 {
				continue
			}
			for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
				own := p.From
				if d == policy.Ingress {
					own = p.To
				}
				if !slices.Contains(l.Addresses, own) {
					continue
				}
				for _, host := range []bool{false, true} {
					want, wantBy := w.Judge(l.PodKey, d, p, host)
					verdict, by := r.Judge(b, d, p, host)
					if (verdict == policy.Accept) != want || by != wantBy {
						t.Fatalf("%s of %s, %+v, host %v: the ruleset says %s by %+v, the world %v by %+v\n%s",
							d, l.PodKey, p, host, verdict, by, want, wantBy, policytest.Describe(w))
					}
				}
			}
		}
	}
}

func owners(w policy.World, a netip.Addr) int {
	n := 0
	for _, p := range w.Pods {
		if !p.HostNetwork && slices.Contains(p.Addresses, a) {
			n++
		}
	}
	return n
}
