package checkpoint

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/policy"
)

func someRules() policy.Ruleset {
	one, two := netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd00::2")
	return policy.Ruleset{
		Sets: map[string]policy.Set{
			"web":   {Name: "web", Kind: policy.Addresses4, Members: map[policy.Member]struct{}{{Address: one}: {}}},
			"empty": {Name: "empty", Kind: policy.Addresses6, Members: map[policy.Member]struct{}{}},
			"http":  {Name: "http", Kind: policy.Ports6, Members: map[policy.Member]struct{}{{Address: two, Protocol: policy.TCP, Port: 80}: {}}},
			"lan":   {Name: "lan", Kind: policy.Ranges4, Ranges: []policy.Range{{First: one, Last: one.Next()}}},
		},
		Chains: map[string]policy.Chain{
			"in": {Name: "in", Rules: []policy.Rule{
				{Peer: "web", Target: "http", Verdict: policy.Accept, ID: policy.RuleID{Tier: policy.NetworkPolicyTier, Namespace: "shop", Policy: "p"}},
				{Verdict: policy.Pass, Goto: "rest"},
			}},
			"rest": {Name: "rest", Rules: []policy.Rule{{Peer: "lan", Protocol: policy.UDP, Ports: []policy.PortRange{{First: 1, Last: 9}}, Verdict: policy.Deny}}},
		},
		Pods: map[string]policy.Binding{"wrp1": {
			Interface: "wrp1", PodKey: policy.PodKey{Namespace: "shop", Name: "cart"}, Addresses: []netip.Addr{one, two}, Ingress: "in",
		}},
	}
}

func TestPolicyStore(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewPolicy(dir, "n1").Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing was saved: %v", err)
	}
	store, want := NewPolicy(dir, "n1"), someRules()
	if err := store.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := NewPolicy(dir, "n1").Load()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	before, err := os.Stat(store.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(someRules()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(store.Path()); err != nil || !os.SameFile(before, after) {
		t.Errorf("the same again was written again (%v)", err)
	}
	if _, err := NewPolicy(dir, "n2").Load(); err == nil || !strings.Contains(err.Error(), `it is of node "n1", and this is n2`) {
		t.Errorf("another node's: %v", err)
	}
}

// TestPolicyStoreRefuses: what names something that is not there would have a pod without rules, or the kernel refuse all.
func TestPolicyStoreRefuses(t *testing.T) {
	for want, change := range map[string]func(policy.Ruleset){
		`there is no set "web"`:    func(r policy.Ruleset) { delete(r.Sets, "web") },
		`there is no chain "rest"`: func(r policy.Ruleset) { delete(r.Chains, "rest") },
		`pod shop/cart: there is no chain "elsewhere"`: func(r policy.Ruleset) {
			r.Pods["wrp1"] = policy.Binding{Interface: "wrp1", PodKey: r.Pods["wrp1"].PodKey, Host: "elsewhere"}
		},
		"a pod has no interface": func(r policy.Ruleset) { r.Pods["wrp1"] = policy.Binding{} },
	} {
		store, rules := NewPolicy(t.TempDir(), "n1"), someRules()
		change(rules)
		if err := store.Save(rules); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Load(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	store := NewPolicy(t.TempDir(), "n1")
	if err := os.WriteFile(store.Path(), []byte("warren-policy 1 torn\n{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(); err == nil || !strings.Contains(err.Error(), "torn") {
		t.Errorf("a torn file: %v", err)
	}
}
