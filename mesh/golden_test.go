package mesh_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/mesh"
)

var update = flag.Bool("update", false, "write what the golden files of testdata should hold")

// TestGolden reads testdata/*.txt. A file begins with a scene that all its cases share. A case is
//
//	== its title
//	what it adds to the scene or changes in it
//	----
//	what Compute makes of it
//
// scene_test.go says how a scene is written. The case's line "show: plan", or "show: peers", says how much of the plan is
// printed; refusals and waiting nodes always are.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata holds no golden files (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { testGoldenFile(t, file) })
	}
}

func testGoldenFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shared, rest, _ := strings.Cut(string(text), "\n== ")
	rewritten := shared
	for _, part := range strings.Split(rest, "\n== ") {
		input, want, _ := strings.Cut(part, "\n----\n")
		input = strings.TrimRight(input, "\n")
		title, body, _ := strings.Cut(input, "\n")
		t.Run(title, func(t *testing.T) {
			s, err := parseScene(shared + "\n" + body)
			if err != nil {
				t.Fatal(err)
			}
			got := s.compute()
			rewritten += "\n== " + input + "\n----\n" + got
			if !*update && got != want {
				t.Errorf("Compute differs (-want +got); if it should, run go test ./mesh -run Golden -update\n%s", cmp.Diff(want, got))
			}
		})
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(file, []byte(rewritten), 0o600); err != nil {
			t.Fatal(err)
		}
	}
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
