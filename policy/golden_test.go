package policy_test

import (
	"flag"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/internal/golden"
)

var update = flag.Bool("update", false, "write what the golden files of testdata should hold")

// TestGolden runs the scenes of testdata: what the index makes of them, and what it cannot honour. scene_test.go says how a scene is written.
// Names are shortened to what tells them apart.
func TestGolden(t *testing.T) { golden.Run(t, *update, rulesetOf) }

var digests = regexp.MustCompile(`-([0-9a-f]{4})[0-9a-f]{28}\b`)

// rulesetOf prints what the index makes of a scene.
func rulesetOf(scene string) (string, error) {
	x, err := parseScene(scene)
	if err != nil {
		return "", err
	}
	text := digests.ReplaceAllString(x.Ruleset().String(), "-$1")
	for _, p := range x.Problems() {
		text += fmt.Sprintf("\n# %s %s: %s\n#   %s\n", p.Kind, strings.TrimPrefix(p.Namespace+"/"+p.Policy, "/"), p.Field, p.Detail)
	}
	return text, nil
}
