package kube

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// permissionsOf are the permissions of a ClusterRole in a file, one line each, sorted.
func permissionsOf(t *testing.T, file string) (lines []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var role rbacv1.ClusterRole
	if err := yaml.NewYAMLOrJSONDecoder(f, 4096).Decode(&role); err != nil || role.Kind != "ClusterRole" {
		t.Fatalf("%s begins with a %s, %v", file, role.Kind, err)
	}
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					lines = append(lines, Permission{Verb: verb, Group: group, Resource: resource}.String())
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// TestPermissions: the agent asks for what the manifests grant, no more and no less.
func TestPermissions(t *testing.T) {
	for file, needs := range map[string]Needs{
		"base/rbac.yaml": {Mesh: true, Policy: true, Pools: true, ServiceCIDRs: true}, "overlays/policy-only/rbac.yaml": {Policy: true},
	} {
		var ours []string
		for _, p := range needs.permissions() {
			p.For = ""
			ours = append(ours, p.String())
		}
		slices.Sort(ours)
		if diff := cmp.Diff(permissionsOf(t, "../../manifests/"+file), ours); diff != "" {
			t.Errorf("-manifests/%s +asked:\n%s", file, diff)
		}
	}
}
