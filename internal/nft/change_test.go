package nft

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestChange takes a table apart and puts it together by changes alone.
func TestChange(t *testing.T) {
	c := open(t)
	m, v4 := Set{Name: "m", Kind: InterfaceVerdicts}, netip.MustParseAddr("10.0.0.1")
	apply(t, c, Table{Family: INet, Name: "t", Sets: []Set{m}})
	with := func(s Set, e ...Element) []Set { s.Elements = e; return []Set{s} }
	a := Set{Name: "a", Kind: IPv4Addresses, Elements: []Element{AddressElement(v4)}}
	for _, step := range []struct {
		name   string
		change Change
		want   string
	}{
		{"what is named comes with it", Change{
			Sets: []Set{a}, Chains: []Chain{{Name: "c", Rules: []Rule{NewRule(SaddrIn(IPv4, "a"))}}}, Add: with(m, InterfaceGoto("eth0", "c")),
		}, "goto c"},
		{"a key's verdict", Change{Remove: with(m, InterfaceGoto("eth0", "c")), Add: with(m, InterfaceReturn("eth0"))}, "return"},
		{"what is named goes with it", Change{StrayChains: []string{"c"}, StraySets: []string{"a"}, Remove: with(m, InterfaceReturn("eth0"))}, ""},
	} {
		if err := c.Change(INet, "t", step.change); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := nft(t, "list map inet t m"); !strings.Contains(got, step.want) || strings.Contains(got, "elements") != (step.want != "") {
			t.Errorf("%s: want %q in\n%s", step.name, step.want, got)
		}
	}
	if got, want := nft(t, "list ruleset"), "table inet t {\n\tmap m {\n\t\ttype ifname : verdict\n\t}\n}\n"; got != want {
		t.Errorf("in the end (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// TestChangeOfNothing is about a table that somebody has deleted.
func TestChangeOfNothing(t *testing.T) {
	c := open(t)
	if err := c.Change(INet, "t", Change{Sets: []Set{{Name: "a", Kind: IPv4Addresses}}}); err == nil {
		t.Error("no error")
	}
	if out := nft(t, "list ruleset"); out != "" {
		t.Errorf("the kernel holds:\n%s", out)
	}
}

// TestFlows come, are read, and go whether they are there or not.
func TestFlows(t *testing.T) {
	c := open(t)
	for _, s := range []Set{{Name: "f4", Kind: IPv4Flows}, {Name: "f6", Kind: IPv6Flows}} {
		host := "10.0.0.1"
		if s.Kind == IPv6Flows {
			host = "fd00::1"
		}
		from, to := netip.AddrPortFrom(netip.MustParseAddr(host), 40000), netip.AddrPortFrom(netip.MustParseAddr(host).Next(), 80)
		want := Table{Family: INet, Name: "t", Sets: []Set{s}}
		apply(t, c, want)
		one := FlowElement(from, to, 6, time.Hour)
		one.Comment = "text"
		s.Elements = []Element{one}
		for range 2 { // The second adds what is there.
			if err := c.Change(INet, "t", Change{Add: []Set{s}}); err != nil {
				t.Fatal(err)
			}
		}
		if drift, err := c.Reconcile(want); err != nil || drift != (Drift{}) {
			t.Errorf("what comes and goes by itself counts as drift: %+v, %v", drift, err)
		}
		got, err := c.Elements(INet, "t", s)
		if err != nil || len(got) != 1 {
			t.Fatalf("read %v, %v", got, err)
		}
		a, b, protocol, ok := got[0].Flow()
		if a != from || b != to || protocol != 6 || !ok || got[0].Comment != "text" || got[0].Timeout <= 59*time.Minute {
			t.Errorf("read %v to %v, protocol %d, %v, %+v", a, b, protocol, ok, got[0])
		}
		for range 2 {
			if err := c.Change(INet, "t", Change{Absent: []Set{s}}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := c.Elements(INet, "t", s); err != nil || len(got) != 0 {
			t.Errorf("left: %v, %v", got, err)
		}
	}
}
