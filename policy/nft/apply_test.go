package nft

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/policy"
)

// TestApply goes from nothing to everything and back, by deltas. After each the kernel holds what Set would have made.
func TestApply(t *testing.T) {
	namespace(t)
	table := newTable(t, Options{LogGroup: 5})
	set(t, table, policy.Ruleset{})
	empty := ordered(run(t, list))
	all := every()
	var come policy.Delta
	for _, s := range all.Sets {
		come.SetsAdded, come.SetsRemoved = append(come.SetsAdded, s), append(come.SetsRemoved, s.Name)
	}
	for _, c := range all.Chains {
		come.ChainsAdded, come.ChainsRemoved = append(come.ChainsAdded, c), append(come.ChainsRemoved, c.Name)
	}
	for _, b := range all.Pods {
		come.PodsSet, come.PodsRemoved = append(come.PodsSet, b), append(come.PodsRemoved, b.Interface)
	}
	gone := policy.Delta{SetsRemoved: come.SetsRemoved, ChainsRemoved: come.ChainsRemoved, PodsRemoved: come.PodsRemoved}
	come.SetsRemoved, come.ChainsRemoved, come.PodsRemoved = nil, nil, nil
	bare := all.Pods["wrp00000000000a"]
	bare.Egress, bare.Addresses = "", []netip.Addr{addr("10.0.0.9")}
	changed := every()
	changed.Pods[bare.Interface] = bare
	changed.Sets["pods4-a"] = addresses("pods4-a", "10.0.0.8")
	changed.Sets["ports4-web"].Members[policy.Member{Address: addr("10.0.0.8"), Protocol: policy.UDP, Port: 1}] = struct{}{}
	for _, step := range []struct {
		name  string
		delta policy.Delta
		want  policy.Ruleset
	}{
		{"everything comes", come, every()},
		{"nothing changes", policy.Delta{}, every()},
		{"members and a binding change", policy.Delta{
			MembersRemoved: map[string][]policy.Member{"pods4-a": {{Address: addr("10.0.0.5")}}},
			MembersAdded: map[string][]policy.Member{
				"pods4-a": {{Address: addr("10.0.0.8")}}, "ports4-web": {{Address: addr("10.0.0.8"), Protocol: policy.UDP, Port: 1}},
			},
			PodsSet: []policy.Binding{bare},
		}, changed},
		{"everything goes", gone, policy.Ruleset{}},
	} {
		apply(t, table, step.delta)
		if drift := set(t, newTable(t, Options{LogGroup: 5}), step.want); drift != (Drift{}) {
			t.Errorf("%s: Set then finds %+v", step.name, drift)
		}
	}
	if d := cmp.Diff(empty, ordered(run(t, list))); d != "" {
		t.Errorf("in the end (-want +got):\n%s", d)
	}
}

// TestApplyFails leaves the kernel as it was, and wants Set before anything else.
func TestApplyFails(t *testing.T) {
	missing := policy.Delta{MembersAdded: map[string][]policy.Member{"missing": {{Address: addr("10.0.0.1")}}}}
	bad := func(c policy.Chain) policy.Delta { return policy.Delta{ChainsAdded: []policy.Chain{c}} }
	for name, c := range map[string]struct {
		tamper string
		delta  policy.Delta
	}{
		"a set that is not there":             {delta: missing},
		"a set that nobody has heard of":      {delta: bad(policy.Chain{Name: "c", Rules: []policy.Rule{{Peer: "missing", Verdict: policy.Accept}}})},
		"a set of another kind":               {delta: bad(policy.Chain{Name: "c", Rules: []policy.Rule{{Target: "pods4-a", Verdict: policy.Accept}}})},
		"no verdict":                          {delta: bad(policy.Chain{Name: "c", Rules: []policy.Rule{{}}})},
		"a name of our own":                   {delta: bad(policy.Chain{Name: "forward"})},
		"a chain that is not there":           {delta: bad(policy.Chain{Name: "c", Rules: []policy.Rule{{Verdict: policy.Pass, Goto: "missing"}}})},
		"an interface of something else":      {delta: policy.Delta{PodsSet: []policy.Binding{{Interface: "eth0"}}}},
		"a chain that somebody needs":         {delta: policy.Delta{ChainsRemoved: []string{"egress-np"}}},
		"a table that somebody deleted":       {"nft delete table inet warren-policy", policy.Delta{SetsAdded: []policy.Set{addresses("new", "10.0.0.1")}}},
		"an element that somebody deleted":    {"nft delete element inet warren-policy pods4-a { 10.0.0.5 }", policy.Delta{MembersRemoved: map[string][]policy.Member{"pods4-a": {{Address: addr("10.0.0.5")}}}}},
		"a pod's entry that somebody changed": {"nft flush map inet warren-policy egress", policy.Delta{PodsRemoved: []string{"wrp00000000000a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			var failed []Transaction
			table := newTable(t, Options{OnTransaction: func(tr Transaction) {
				if tr.Err != nil {
					failed = append(failed, tr)
				}
			}})
			set(t, table, every())
			run(t, "%s", c.tamper+"\ntrue")
			before := run(t, "nft list ruleset")
			if err := table.Apply(c.delta); err == nil || errors.Is(err, ErrUnknown) {
				t.Fatalf("error %v", err)
			}
			if c.tamper != "" && len(failed) != 1 {
				t.Errorf("%d failed transactions were told of", len(failed))
			}
			if d := cmp.Diff(before, run(t, "nft list ruleset")); d != "" {
				t.Errorf("the kernel is not as before (-want +got):\n%s", d)
			}
			if err := table.Apply(policy.Delta{SetsRemoved: []string{"x"}}); !errors.Is(err, ErrUnknown) {
				t.Errorf("the next delta: %v", err)
			}
			if drift := set(t, table, every()); (drift != Drift{}) != (c.tamper != "") {
				t.Errorf("Set found %+v", drift)
			}
		})
	}
}

// TestAdopt: what another agent left in the kernel can be changed without a word of the rest, if it is known. Nothing is changed by asking.
func TestAdopt(t *testing.T) {
	namespace(t)
	table := newTable(t, Options{})
	adopt := func(want bool) {
		t.Helper()
		before := run(t, "nft list ruleset")
		if is, err := table.Adopt(every()); is != want || err != nil {
			t.Errorf("adopted: %t, %v, want %t", is, err, want)
		}
		if d := cmp.Diff(before, run(t, "nft list ruleset")); d != "" {
			t.Errorf("the kernel is not as before (-want +got):\n%s", d)
		}
	}
	other := every().Pods["wrp00000000000a"]
	other.Addresses = []netip.Addr{addr("10.0.0.9")}
	change := policy.Delta{PodsSet: []policy.Binding{other}}
	adopt(false) // there is no table
	set(t, newTable(t, Options{}), every())
	run(t, `nft 'add element inet warren-policy pods4-a { 10.0.0.77 }'`)
	adopt(false)
	if err := table.Apply(change); !errors.Is(err, ErrUnknown) {
		t.Errorf("a delta to what is not known: %v", err)
	}
	run(t, `nft 'delete element inet warren-policy pods4-a { 10.0.0.77 }'`)
	adopt(true)
	apply(t, table, change)
	want := every()
	want.Pods[other.Interface] = other
	if drift := set(t, newTable(t, Options{}), want); drift != (Drift{}) {
		t.Errorf("Set then finds %+v", drift)
	}
}

// TestRepair lets somebody else at the table.
func TestRepair(t *testing.T) {
	for name, tamper := range map[string]string{
		"table deleted":     "delete table inet warren-policy",
		"table flushed":     "flush table inet warren-policy",
		"table asleep":      "add table inet warren-policy { flags dormant; }",
		"ruleset flushed":   "flush ruleset",
		"base chain gone":   "delete chain inet warren-policy forward",
		"base chain moved":  "delete chain inet warren-policy input; add chain inet warren-policy input { type filter hook input priority 5; }",
		"chain flushed":     "flush chain inet warren-policy egress-np",
		"chain deleted":     "flush map inet warren-policy egress; delete chain inet warren-policy egress-np",
		"rule added":        "insert rule inet warren-policy ingress-np accept",
		"base rule added":   "insert rule inet warren-policy forward accept",
		"member deleted":    "delete element inet warren-policy pods4-a { 10.0.0.5 }",
		"member added":      "add element inet warren-policy pods6-a { fd00::6 }",
		"port added":        "add element inet warren-policy ports4-web { 10.0.0.5 . udp . 53 }",
		"ranges flushed":    "flush set inet warren-policy ranges4-x",
		"pod unbound":       `delete element inet warren-policy ingress { "wrp00000000000a" }`,
		"pod bound":         `add element inet warren-policy ingress { "wrp00000000000c" : accept }`,
		"pod bound to more": `delete element inet warren-policy ingress { "wrp00000000000b" }; add element inet warren-policy ingress { "wrp00000000000b" : jump ingress-np }`,
		"set added":         "add set inet warren-policy stray { type ipv4_addr; }",
		"chain added":       "add chain inet warren-policy stray; add rule inet warren-policy ingress-np jump stray",
		"set of another type": "flush table inet warren-policy; delete set inet warren-policy pods4-a; " +
			"add set inet warren-policy pods4-a { type ipv6_addr; }",
		"map of another type": "flush table inet warren-policy; delete map inet warren-policy host; " +
			"add map inet warren-policy host { type ipv4_addr : verdict; elements = { 10.0.0.1 : accept }; }",
	} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			table := newTable(t, Options{})
			set(t, table, every())
			whole := run(t, list)
			run(t, "nft '%s'", tamper)
			if run(t, "nft -s list ruleset") == whole {
				t.Fatal("nothing was broken: this test proves nothing")
			}
			if drift := set(t, table, every()); drift == (Drift{}) {
				t.Error("no drift")
			}
			if d := cmp.Diff(sorted(whole), sorted(run(t, list))); d != "" {
				t.Errorf("after the repair (-want +got):\n%s", d)
			}
			if drift := set(t, table, every()); drift != (Drift{}) {
				t.Errorf("the second repair found %+v", drift)
			}
		})
	}
}

// sorted leaves out the order of a listing: what was put back comes last.
func sorted(listing string) []string {
	return slices.Sorted(slices.Values(strings.Split(ordered(listing), "\n\t}\n")))
}

// TestLarge goes beyond what one message holds, and what one transaction has to.
func TestLarge(t *testing.T) {
	namespace(t)
	const members, rules = 100_000, 10_000
	big := addresses("big")
	a := addr("10.0.0.0")
	for range members {
		big.Members[policy.Member{Address: a}] = struct{}{}
		a = a.Next()
	}
	ranges := policy.Set{Name: "ranges", Kind: policy.Ranges4}
	chain := policy.Chain{Name: "long", Direction: policy.Ingress}
	for i := range rules {
		first := netip.AddrFrom4([4]byte{172, 16 + byte(i>>12), byte(i >> 4), byte(i << 4)})
		ranges.Ranges = append(ranges.Ranges, policy.Range{First: first, Last: first.Next()})
		chain.Rules = append(chain.Rules, policy.Rule{Peer: "big", Protocol: policy.TCP, Ports: ports(uint16(i+1), uint16(i+1)), Verdict: policy.Accept})
	}
	want := ruleset([]policy.Set{big, ranges}, []policy.Chain{chain}, policy.Binding{Interface: "wrp00000000000a", Ingress: "long"})
	table := newTable(t, Options{LogGroup: 5})
	start := time.Now()
	set(t, table, want)
	t.Logf("%d members, %d ranges and %d rules: set in %v", members, rules, rules, time.Since(start))
	start = time.Now()
	if drift := set(t, table, want); drift != (Drift{}) {
		t.Errorf("Set then finds %+v", drift)
	}
	t.Logf("compared in %v", time.Since(start))
	if n := strings.Count(run(t, "nft list chain inet warren-policy long"), "tcp dport"); n != rules {
		t.Errorf("nft lists %d rules of %d", n, rules)
	}
	var took []time.Duration
	for range 200 {
		one := map[string][]policy.Member{"big": {{Address: a}}}
		start := time.Now()
		apply(t, table, policy.Delta{MembersAdded: one})
		took = append(took, time.Since(start))
		apply(t, table, policy.Delta{MembersRemoved: one})
	}
	slices.Sort(took)
	t.Logf("one member more: p50 %v, p99 %v", took[len(took)/2], took[len(took)*99/100])
	if p50 := took[len(took)/2]; p50 > 5*time.Millisecond {
		t.Errorf("one member more costs %v: that grows with the table", p50)
	}
	bound := policy.Binding{Interface: "wrp00000000000b", Ingress: "long"}
	start = time.Now()
	apply(t, table, policy.Delta{PodsSet: []policy.Binding{bound}})
	t.Logf("a pod bound to it: %v", time.Since(start))
	start = time.Now()
	if drift := set(t, table, policy.Ruleset{}); drift.Sets != 2 || drift.Chains != 1 {
		t.Errorf("nothing wanted: drift %+v", drift)
	}
	t.Logf("taken away in %v", time.Since(start))
}
