package policytest

import (
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/warren-mesh/warren/policy"
)

// Describe writes a world as it would be written by hand.
func Describe(w policy.World) string {
	var b strings.Builder
	for _, part := range []any{w.Namespaces, w.Nodes, w.Pods, w.Policies, w.ClusterPolicies} {
		text, err := yaml.Marshal(part)
		if err != nil {
			return err.Error()
		}
		b.Write(text)
	}
	return b.String()
}
