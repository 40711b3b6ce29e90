package nft

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/nft/nfttest"
	"github.com/warren-mesh/warren/policy"
)

// TestDump holds the dump against what nft lists of the kernel, and has nft take it.
func TestDump(t *testing.T) {
	for name, o := range map[string]Options{"quiet": {}, "logged": {LogGroup: 5}, "theirs": {LogGroup: 5, Theirs: true}} {
		for which, r := range map[string]policy.Ruleset{"every": every(), "nothing": {}} {
			t.Run(name+" "+which, func(t *testing.T) {
				namespace(t)
				table := newTable(t, o)
				set(t, table, r)
				dump := o.Dump(r)
				if d := cmp.Diff(ordered(run(t, list)), dump); d != "" {
					t.Errorf("(-nft +dump):\n%s", d)
				}
				run(t, "nft delete table inet %s; nft -f - <<'E'\n%sE", TableName, dump)
				// nft says of a set that rules update that they do; the kernel takes it without.
				again := strings.ReplaceAll(ordered(run(t, list)), "flags dynamic,timeout", "flags timeout")
				if d := cmp.Diff(dump, again); d != "" {
					t.Errorf("what nft makes of the dump (-dump +nft):\n%s", d)
				}
			})
		}
	}
}

// TestDumpParts is golden: what `warren policy show` shows.
func TestDumpParts(t *testing.T) {
	nfttest.Golden(t, "testdata/parts.nft", Options{LogGroup: 5}.DumpParts(every()))
	if got := (Options{}).DumpParts(policy.Ruleset{}); strings.Contains(got, "elements") || strings.Contains(got, "chain") {
		t.Errorf("of nothing:\n%s", got)
	}
}
