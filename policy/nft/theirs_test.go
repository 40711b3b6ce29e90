package nft

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/policy"
)

// theirNames are links of another plugin's pods, none of which begins like another.
var theirNames = map[string]string{"a": "vethaaaa", "b": "cali0b", "c": "lxc1"}

// theirs binds a pod that has such a link.
func theirs(l *lab, name, in, out string) policy.Binding {
	h := l.hosts[name]
	return bind(theirNames[name], in, out, h.v4.String(), h.v6.String())
}

// TestTheirs: another plugin's pods are policed by what their links are bound to. A link that is known and has no rules has no network; one that is not
// known is somebody else's.
func TestTheirs(t *testing.T) {
	l := buildLinks(t, theirNames)
	l.dnat()
	table := newTable(t, Options{LogGroup: 5, Theirs: true})
	judge := func(pass, drop string) {
		t.Helper()
		for want, probes := range map[bool]string{true: pass, false: drop} {
			for probe := range strings.SplitSeq(probes, ", ") {
				for _, f := range []policy.SetKind{policy.Addresses4, policy.Addresses6} {
					if probe != "" && l.comes(f, probe, want) != want {
						t.Errorf("%s over %v passes: %v", probe, f, !want)
					}
				}
			}
		}
	}
	set(t, table, ruleset(sets(), []policy.Chain{in(fromB4, fromB6, deny)}, theirs(l, "a", "ingress-1", "")))
	judge("b>a tcp 80, a>b tcp 80, a>c udp 80, c>b icmp, c>node tcp 80, node>a tcp 80, peer>c tcp 80, a>node tcp 80", "c>a tcp 80, peer>a udp 80, world>a icmp")
	if err := table.SetLinks([]string{theirNames["a"], theirNames["c"]}); err != nil {
		t.Fatal(err)
	}
	judge("b>a tcp 80, a>b tcp 80, a>node tcp 80", "c>b tcp 80, b>c tcp 80, c>node udp 80, peer>c icmp")
	if err := table.Apply(policy.Delta{PodsSet: []policy.Binding{theirs(l, "c", "", "")}}); err != nil {
		t.Fatal(err)
	}
	judge("c>b tcp 80, b>c tcp 80, c>node udp 80, peer>c icmp", "c>a tcp 80")
	if err := table.Apply(policy.Delta{PodsRemoved: []string{theirNames["c"]}}); err != nil {
		t.Fatal(err)
	}
	judge("b>a tcp 80", "c>b tcp 80, b>c tcp 80, c>node udp 80")
	if err := table.SetLinks(nil); err != nil {
		t.Fatal(err)
	}
	judge("b>a tcp 80, c>b tcp 80, b>c tcp 80", "c>a tcp 80")
	held(t, table, ruleset(sets(), []policy.Chain{in(fromB4, fromB6, deny)}, theirs(l, "a", "ingress-1", "")))
}

// comes is passes, where it is to pass for as long as it may take on a machine that is busy.
func (l *lab) comes(f policy.SetKind, probe string, wanted bool) (passes bool) {
	l.t.Helper()
	for range 20 {
		if passes = l.passes(f, probe); passes || !wanted {
			break
		}
	}
	return passes
}

// held wants the kernel to hold the ruleset, so that there is nothing to put right.
func held(t *testing.T, table *Table, r policy.Ruleset) {
	t.Helper()
	if drift, err := table.Set(r); err != nil || drift != (Drift{}) {
		t.Errorf("put right: %+v, %v", drift, err)
	}
}

// TestTheirsAdopted: a link that came while the agent was away is no reason not to adopt what the kernel holds.
func TestTheirsAdopted(t *testing.T) {
	l := buildLinks(t, theirNames)
	rules := ruleset(nil, []policy.Chain{in(deny)}, theirs(l, "a", "ingress-1", ""))
	before := newTable(t, Options{Theirs: true})
	if err := before.SetLinks([]string{theirNames["a"], theirNames["b"]}); err != nil {
		t.Fatal(err)
	}
	set(t, before, rules)
	after := newTable(t, Options{Theirs: true})
	if err := after.SetLinks([]string{theirNames["c"]}); err != nil {
		t.Fatal(err)
	}
	if is, err := after.Adopt(rules); err != nil || !is {
		t.Fatalf("adopted: %v, %v", is, err)
	}
	for probe, want := range map[string]bool{"node>a tcp 80": true, "b>a tcp 80": false, "b>world tcp 80": true, "c>world tcp 80": false} {
		if got := l.comes(policy.Addresses4, probe, want); got != want {
			t.Errorf("%s passes: %v", probe, got)
		}
	}
	held(t, after, rules)
}

// TestTheirsSpoof: a pod may send under its own addresses only, to whomever: what others may does not become its own, nor an established flow of
// theirs.
func TestTheirsSpoof(t *testing.T) {
	l := buildLinks(t, theirNames)
	table := newTable(t, Options{LogGroup: 5, Theirs: true})
	set(t, table, ruleset(sets(), []policy.Chain{in(fromB4, fromB6, deny)}, theirs(l, "a", "ingress-1", ""), theirs(l, "b", "", ""), theirs(l, "c", "", "")))
	if !l.comes(policy.Addresses4, "c>world tcp 80", true) || !l.comes(policy.Addresses6, "c>world tcp 80", true) || !l.comes(policy.Addresses6, "b>a tcp 80", true) {
		t.Error("what is sent under its own address does not pass, so that the other's absence would prove nothing")
	}
	a, b, c := l.hosts["a"], l.hosts["b"], l.hosts["c"]
	c.Run("ip addr add %s/32 dev eth0 preferred_lft 0; ip addr add %s/128 dev eth0 nodad preferred_lft 0", b.v4, b.v6)
	for _, from := range []netip.Addr{b.v4, b.v6} {
		for _, to := range []netip.Addr{a.to(kindOfAddr(from)), l.hosts["world"].to(kindOfAddr(from)), l.node().to(kindOfAddr(from))} {
			before := spoofs(t, table)
			if out, err := c.Try(fmt.Sprintf("ping -n -c 1 -W 0.3 -I %s %s", from, to)); err == nil || spoofs(t, table) == before {
				t.Errorf("c as %s to %s: passes %v, %d are counted\n%s", from, to, err == nil, spoofs(t, table)-before, out)
			}
		}
	}
}

func kindOfAddr(a netip.Addr) policy.SetKind {
	if a.Is4() {
		return policy.Addresses4
	}
	return policy.Addresses6
}

func spoofs(t *testing.T, table *Table) uint64 {
	t.Helper()
	dropped, err := table.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dropped {
		if d.Spoofed {
			return d.Packets
		}
	}
	t.Fatal("spoofed packets are not counted")
	return 0
}

// TestLinksNames: what is no link's name is refused, before anything is asked of the kernel.
func TestLinksNames(t *testing.T) {
	namespace(t)
	table := newTable(t, Options{Theirs: true})
	for _, name := range []string{"", "lo", "veth0123456789abc", "a/b", "a b", "a*", `a"b`} {
		if err := table.SetLinks([]string{name}); err == nil {
			t.Errorf("SetLinks takes %q", name)
		}
		if _, err := table.Set(ruleset(nil, nil, bind(name, "", "", "10.0.0.5"))); err == nil {
			t.Errorf("Set takes %q", name)
		}
	}
}
