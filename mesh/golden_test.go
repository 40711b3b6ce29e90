package mesh_test

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/internal/golden"
	"github.com/warren-mesh/warren/mesh"
)

var update = flag.Bool("update", false, "write what the golden files of testdata should hold")

// TestGolden runs the scenes of testdata, of which Compute makes the outcome. scene_test.go says how a scene is written. The case's line
// "show: plan", or "show: peers", says how much of the plan is printed; refusals and waiting nodes always are.
func TestGolden(t *testing.T) {
	golden.Run(t, *update, func(scene string) (string, error) {
		s, err := parseScene(scene)
		if err != nil {
			return "", err
		}
		return s.compute(), nil
	})
}

// compute prints what the scene's local node makes of it.
func (s *scene) compute() string {
	result := mesh.Compute(s.local, s.parse())
	var b strings.Builder
	if s.show == "plan" {
		b.WriteString(result.Plan.String())
	} else {
		writePeers(&b, result.Plan.Lanes[0].Peers)
	}
	if len(result.Refusals) > 0 {
		b.WriteString("\n# refused\n")
	}
	for _, r := range result.Refusals {
		b.WriteString(r.Node + ": " + string(r.Reason) + ": " + r.Detail + "\n")
	}
	if len(result.Waiting) > 0 {
		b.WriteString("\n# waiting for\n" + strings.Join(result.Waiting, "\n") + "\n")
	}
	return s.readable(b.String())
}

func writePeers(b *strings.Builder, peers []*mesh.Peer) {
	b.WriteString("# peers\n")
	for _, p := range peers {
		endpoint := "(no endpoint)"
		if p.Endpoint.IsValid() {
			endpoint = p.Endpoint.String()
		}
		allowed := make([]string, len(p.AllowedIPs))
		for i, a := range p.AllowedIPs {
			allowed[i] = a.String()
		}
		b.WriteString(p.Node + ": " + endpoint + " " + strings.Join(allowed, ", ") + "\n")
	}
}

// parse reads the scene's nodes as they would come from the API.
func (s *scene) parse() []mesh.Node {
	var nodes []mesh.Node
	for _, f := range s.nodes {
		n := withNodeKey(mesh.ParseNode(*f), slices.Collect(maps.Keys(s.keys))...)
		if holder, ok := s.holders[n.Claim.PublicKey.String()]; ok {
			n.KeyHolder = holder
		}
		nodes = append(nodes, n)
	}
	slices.Reverse(nodes) // in no order that Compute could lean on
	return nodes
}
