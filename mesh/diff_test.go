package mesh_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/mesh"
)

type entry struct {
	key   int
	value string
}

// drawnEntries are few keys and fewer values, so that much is the same on both sides.
var drawnEntries = rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) entry {
	return entry{rapid.IntRange(0, 9).Draw(t, "key"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value")}
}), entryKey)

func entryKey(e entry) int { return e.key }

func TestDiffAppliedToHaveGivesWant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := drawnEntries.Draw(t, "have"), drawnEntries.Draw(t, "want")
		changes := diffEntries(have, want)
		state := byKey(have)
		for _, e := range changes.Set {
			if state[e.key] == e.value {
				t.Fatalf("%v is there already", e)
			}
			state[e.key] = e.value
		}
		for _, e := range changes.Remove {
			if state[e.key] != e.value {
				t.Fatalf("%v is not there", e)
			}
			delete(state, e.key)
		}
		if !maps.Equal(state, byKey(want)) {
			t.Fatalf("have is now %v, want %v", state, byKey(want))
		}
		if changes.Empty() != maps.Equal(byKey(have), byKey(want)) {
			t.Fatalf("Empty says %t of %v", changes.Empty(), changes)
		}
	})
}

func TestDiffKeepsOrder(t *testing.T) {
	got := diffEntries([]entry{{3, "x"}, {2, "x"}, {1, "x"}}, []entry{{9, "x"}, {2, "y"}, {4, "x"}})
	want := mesh.Changes[entry]{Set: []entry{{9, "x"}, {2, "y"}, {4, "x"}}, Remove: []entry{{3, "x"}, {1, "x"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func diffEntries(have, want []entry) mesh.Changes[entry] {
	return mesh.Diff(have, want, entryKey, func(a, b entry) bool { return a == b })
}

func byKey(entries []entry) map[int]string {
	state := make(map[int]string, len(entries))
	for _, e := range entries {
		state[e.key] = e.value
	}
	return state
}
