package agent

import (
	"slices"

	"go.uber.org/zap/zapcore"

	"github.com/warren-mesh/warren/mesh"
)

// transitions tells what began and what ended between two lists of refusals.
type transitions struct{ current []mesh.Refusal }

func (t *transitions) update(now []mesh.Refusal) (began, ended []mesh.Refusal) {
	same := func(_, _ mesh.Refusal) bool { return true }
	changes := mesh.Diff(t.current, now, func(r mesh.Refusal) mesh.Refusal { return r }, same)
	t.current = now
	return changes.Set, changes.Remove
}

// loggedRefusal is a refusal as a log's fields.
type loggedRefusal mesh.Refusal

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (r loggedRefusal) MarshalLogObject(encoder zapcore.ObjectEncoder) error {
	encoder.AddString("node", r.Node)
	encoder.AddString("reason", string(r.Reason))
	encoder.AddString("detail", r.Detail)
	return nil
}

// refusalNote is a refusal as an Event's note. Of a pool it names no node.
func refusalNote(r mesh.Refusal) string {
	if r.Node == "" {
		return r.Detail
	}
	return "node " + r.Node + ": " + r.Detail
}

// find is the node of that name, or nil.
func find(nodes []*mesh.Node, name string) *mesh.Node {
	if i := slices.IndexFunc(nodes, func(n *mesh.Node) bool { return n.Name == name }); i >= 0 {
		return nodes[i]
	}
	return nil
}
