package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/mesh"
)

// TestTransitions walks through one list of refusals after the other: an Event is written when one begins, and never again.
func TestTransitions(t *testing.T) {
	taken := mesh.Refusal{Node: "n2", Reason: mesh.KeyTaken, Detail: "it is n1's"}
	malformed := mesh.Refusal{Node: "n3", Reason: mesh.Malformed, Detail: "annotation warren.dev/public-key"}
	changed := malformed
	changed.Detail = "spec.podCIDRs"
	type list = []mesh.Refusal
	var transitions transitions
	for _, step := range []struct {
		name              string
		now, began, ended list
	}{
		{"nothing yet", nil, nil, nil},
		{"the first begins", list{taken}, list{taken}, nil},
		{"it stays", list{taken}, nil, nil},
		{"another begins", list{malformed, taken}, list{malformed}, nil},
		{"the order is no change", list{taken, malformed}, nil, nil},
		{"for another reason", list{taken, changed}, list{changed}, list{malformed}},
		{"one ends", list{changed}, nil, list{taken}},
		{"all end", nil, nil, list{changed}},
		{"one comes back", list{taken}, list{taken}, nil},
	} {
		began, ended := transitions.update(step.now)
		if diff := cmp.Diff(step.began, began); diff != "" {
			t.Errorf("%s: began (-want +got):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(step.ended, ended); diff != "" {
			t.Errorf("%s: ended (-want +got):\n%s", step.name, diff)
		}
	}
}
