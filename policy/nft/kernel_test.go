package nft

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/policy"
)

const list = "nft -s list table inet " + TableName

// namespace gives the test a network namespace of its own, which ends with its thread.
func namespace(tb testing.TB) {
	tb.Helper()
	nfttest.Isolate(tb)
	run(tb, "ip link set lo up")
}

// run runs a shell command in the test's namespace, which has to succeed.
func run(tb testing.TB, command string, args ...any) string {
	tb.Helper()
	return nfttest.Run(tb, command, args...)
}

func newTable(tb testing.TB, o Options) *Table {
	tb.Helper()
	table, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := table.Close(); err != nil {
			tb.Error(err)
		}
	})
	return table
}

func set(tb testing.TB, table *Table, r policy.Ruleset) Drift {
	tb.Helper()
	drift, err := table.Set(r)
	if err != nil {
		tb.Fatal(err)
	}
	return drift
}

func apply(tb testing.TB, table *Table, d policy.Delta) {
	tb.Helper()
	if err := table.Apply(d); err != nil {
		tb.Fatal(err)
	}
}

// ruleset makes one of its parts.
func ruleset(sets []policy.Set, chains []policy.Chain, pods ...policy.Binding) policy.Ruleset {
	r := policy.Ruleset{Sets: map[string]policy.Set{}, Chains: map[string]policy.Chain{}, Pods: map[string]policy.Binding{}}
	for _, s := range sets {
		r.Sets[s.Name] = s
	}
	for _, c := range chains {
		r.Chains[c.Name] = c
	}
	for _, p := range pods {
		r.Pods[p.Interface] = p
	}
	return r
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// addresses is a set of addresses.
func addresses(name string, all ...string) policy.Set {
	s := policy.Set{Name: name, Kind: policy.Addresses4, Members: map[policy.Member]struct{}{}}
	for _, a := range all {
		if addr(a).Is6() {
			s.Kind = policy.Addresses6
		}
		s.Members[policy.Member{Address: addr(a)}] = struct{}{}
	}
	return s
}

// spans are ranges of addresses, from each odd one to the one after it.
func spans(ends ...netip.Addr) (out []policy.Range) {
	for pair := range slices.Chunk(ends, 2) {
		out = append(out, policy.Range{First: pair[0], Last: pair[1]})
	}
	return out
}

// ports are ranges of ports, likewise.
func ports(ends ...uint16) (out []policy.PortRange) {
	for pair := range slices.Chunk(ends, 2) {
		out = append(out, policy.PortRange{First: pair[0], Last: pair[1]})
	}
	return out
}

// every is a ruleset in which everything occurs.
func every() policy.Ruleset {
	port := func(a string, p policy.Protocol) map[policy.Member]struct{} {
		return map[policy.Member]struct{}{{Address: addr(a), Protocol: p, Port: 8080}: {}}
	}
	return ruleset([]policy.Set{
		addresses("pods4-a", "10.0.0.5"),
		addresses("pods6-a", "fd00::5"),
		{Name: "ports4-web", Kind: policy.Ports4, Members: port("10.0.0.5", policy.TCP)},
		{Name: "ports6-web", Kind: policy.Ports6, Members: port("fd00::5", policy.SCTP)},
		{Name: "ranges4-x", Kind: policy.Ranges4, Ranges: spans(addr("0.0.0.0"), addr("9.255.255.255"), addr("10.0.0.7"), addr("255.255.255.255"))},
		{Name: "ranges6-x", Kind: policy.Ranges6, Ranges: spans(addr("::"), addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))},
	}, []policy.Chain{
		{Name: "ingress-admin", Direction: policy.Ingress, Rules: []policy.Rule{
			{Peer: "pods4-a", Target: "ports4-web", Verdict: policy.Accept},
			{Peer: "pods6-a", Target: "ports6-web", Verdict: policy.Accept},
			{Peer: "ranges4-x", Protocol: policy.TCP, Ports: ports(80, 80, 443, 444), Verdict: policy.Deny},
			{Peer: "ranges6-x", Protocol: policy.SCTP, Verdict: policy.Deny},
			{Protocol: policy.UDP, Ports: ports(53, 53), Verdict: policy.Pass, Goto: "ingress-np"},
		}},
		{Name: "ingress-np", Direction: policy.Ingress, Rules: []policy.Rule{{Verdict: policy.Deny}}},
		{Name: "egress-np", Direction: policy.Egress, Rules: []policy.Rule{{Peer: "pods4-a", Verdict: policy.Accept}, {Peer: "pods6-a", Verdict: policy.Accept}, {Verdict: policy.Deny}}},
		{Name: "host-admin", Direction: policy.Egress, Rules: []policy.Rule{{Peer: "ranges6-x", Verdict: policy.Deny}}},
	},
		policy.Binding{Interface: "wrp00000000000a", Addresses: []netip.Addr{addr("10.0.0.5"), addr("fd00::5")}, Ingress: "ingress-admin", Egress: "egress-np", Host: "host-admin"},
		policy.Binding{Interface: "wrp00000000000b", Addresses: []netip.Addr{addr("10.0.0.6")}},
	)
}

// TestTable reads the whole table back through nft.
func TestTable(t *testing.T) {
	for name, o := range map[string]Options{"quiet": {}, "logged": {LogGroup: 5}} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			table := newTable(t, o)
			if drift := set(t, table, every()); !drift.Table {
				t.Errorf("the first Set found %+v", drift)
			}
			nfttest.Golden(t, "testdata/"+name+".nft", ordered(run(t, list)))
			run(t, "nft list ruleset | nft -c -f -") // nft takes what it lists: no name is a word of its own.
			if drift := set(t, table, every()); drift != (Drift{}) {
				t.Errorf("the second Set found %+v", drift)
			}
			if drift := set(t, newTable(t, o), every()); drift != (Drift{}) {
				t.Errorf("Set after a restart found %+v", drift)
			}
		})
	}
}

// ordered puts the elements of a listing, which come in any order, into one, each in a line.
func ordered(listing string) string {
	var out, elements []string
	for line := range strings.Lines(listing) {
		text, begins := strings.CutPrefix(strings.TrimSpace(line), "elements = { ")
		if !begins && elements == nil {
			out = append(out, line)
			continue
		}
		text, ends := strings.CutSuffix(text, " }")
		for e := range strings.SplitSeq(strings.TrimSuffix(text, ","), ", ") {
			elements = append(elements, "\t\t\t"+e+",\n")
		}
		if ends {
			slices.Sort(elements)
			out = append(append(append(out, "\t\telements = {\n"), elements...), "\t\t}\n")
			elements = nil
		}
	}
	return strings.Join(out, "")
}
