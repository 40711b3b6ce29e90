package policy_test

import (
	"flag"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/policytest"
)

var lasting = flag.Duration("policy.for", 0, "draw worlds for this long")

// TestDifferential holds the ruleset that an index makes of a world, from wherever it was before, against the world itself.
func TestDifferential(t *testing.T) {
	for start := time.Now(); ; {
		rapid.Check(t, func(t *rapid.T) {
			drawn := policytest.World(policytest.Options{Pods: 6, Policies: 4, ClusterPolicies: 4, Unsound: true, Previews: true, Shared: true})
			w := drawn.Draw(t, "world")
			locals := drawLocals(t, &w)
			x := policy.NewIndex()
			if rapid.Bool().Draw(t, "something before") {
				before := drawn.Draw(t, "before")
				policytest.Fill(x, before)
				addLocals(x, locals)
				x.Take()
				policytest.Without(x, before, w)
			}
			events := policytest.Events(x, w)
			repeated := rapid.SliceOfN(rapid.IntRange(0, len(events)-1), 0, 5).Draw(t, "repeated")
			for _, i := range append(rapid.Permutation(indices(len(events))).Draw(t, "order"), repeated...) {
				events[i]()
				if i%3 == 0 {
					x.Take()
				}
			}
			addLocals(x, locals)
			got := x.Ruleset()
			fresh := policy.NewIndex()
			policytest.Fill(fresh, w)
			addLocals(fresh, locals)
			if diff := cmp.Diff(fresh.Ruleset(), got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Fatalf("the way changes the end (-at once +on the way):\n%s\n%s", diff, describe(w))
			}
			judgeBoth(t, w, got, locals)
		})
		if t.Failed() || time.Since(start) >= *lasting {
			return
		}
	}
}

// drawLocals has some pods on this node. What their interfaces were given is theirs before their status says so.
func drawLocals(t *rapid.T, w *policy.World) []policy.Local {
	var locals []policy.Local
	for i, p := range w.Pods {
		if p.HostNetwork || rapid.IntRange(0, 3).Draw(t, "elsewhere") == 3 {
			continue
		}
		l := policy.Local{Interface: policytest.Interface(i), PodKey: p.PodKey, Addresses: p.Addresses}
		if len(p.Addresses) == 0 {
			l.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.100").Next()}
		}
		locals = append(locals, l)
	}
	return locals
}

func addLocals(x *policy.Index, locals []policy.Local) {
	for _, l := range locals {
		x.SetLocal(l)
	}
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func judgeBoth(t *rapid.T, w policy.World, r policy.Ruleset, locals []policy.Local) {
	t.Helper()
	for i, p := range w.Pods {
		for _, l := range locals {
			if l.PodKey == p.PodKey {
				w.Pods[i].Addresses = l.Addresses
			}
		}
	}
	packets := policytest.Packets(w)
	for _, l := range locals {
		b, bound := r.Pods[l.Interface]
		if !bound {
			t.Fatalf("%s of %s is not bound\n%s", l.Interface, l.PodKey, describe(w))
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
							d, l.PodKey, p, host, verdict, by, want, wantBy, describe(w))
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

func describe(w policy.World) string {
	var b strings.Builder
	for _, part := range []any{w.Namespaces, w.Nodes, w.Pods, w.Policies, w.ClusterPolicies} {
		text, err := yaml.Marshal(part)
		if err != nil {
			return err.Error()
		}
		b.Write(text)
	}
	return b.String()
}
