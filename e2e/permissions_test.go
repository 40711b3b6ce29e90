package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestWithoutAPermission: agents that do all that they do are refused nothing by the API server. One that lacks a verb on a resource names both, and
// lives on until whoever granted too little has granted it.
func TestWithoutAPermission(t *testing.T) { //nolint:tparallel // its parts come one after the other
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"--ipam=pools", "--service-cidr="} // which are asked of the API server then
	s := bareScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual, AgentArgs: args, Audit: true})
	if err := s.Cluster().Apply(ctx, []byte(pools), []byte(np("default", "all", "podSelector: {}\ningress: [{}]"))); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
		s.addPod(ctx, t, n, "p1")
	}
	for _, v4 := range []bool{true, false} {
		eventually(ctx, t, 10*time.Second, func() error { return quickPing(ctx, &s.pod("n1").Host, s.pod("n2").Address(v4)) })
	}
	answered, denied, err := s.Cluster().Audit()
	if err != nil || answered == 0 || len(denied) > 0 {
		t.Errorf("of %d requests these were refused, %v:\n%s", answered, err, strings.Join(denied, "\n"))
	}
	n1 := s.Node("n1")
	roles := s.Cluster().Admin().RbacV1().ClusterRoles()
	for _, rule := range clusterRules(t) {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				t.Run(verb+" "+strings.ReplaceAll(resource, "/", "-"), func(t *testing.T) {
					role, err := roles.Get(ctx, "warren", metav1.GetOptions{})
					if err != nil {
						t.Fatal(err)
					}
					role.Rules = less(clusterRules(t), rule.APIGroups[0], resource, verb)
					if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
						t.Fatal(err)
					}
					if err := n1.StopAgent(ctx); err != nil {
						t.Fatal(err)
					}
					before := len(agentLog(t, n1))
					if err := n1.StartAgent(ctx); err != nil {
						t.Fatal(err)
					}
					eventually(ctx, t, 20*time.Second, func() error { return says(agentLog(t, n1)[before:], verb, resource) })
					if !n1.AgentRunning() {
						t.Error("the agent has ended")
					}
				})
			}
		}
	}
}

func agentLog(t *testing.T, n *lab.Node) string {
	t.Helper()
	text, err := os.ReadFile(n.AgentLog())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// says is an error unless a log names this permission, and no other, as missing, and what is to be done.
func says(log, verb, resource string) error {
	resource, sub, _ := strings.Cut(resource, "/")
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"level":"error"`) && strings.Contains(line, "rbac.yaml") && strings.Contains(line, `"missing":["`+verb+" "+resource) &&
			strings.Contains(line, sub) && strings.Count(line, "(") == 1 {
			return nil
		}
	}
	return fmt.Errorf("the agent does not say that %s %s/%s is missing:\n%s", verb, resource, sub, log[max(0, len(log)-3000):])
}

// clusterRules are those of the manifests, one for each resource.
func clusterRules(t *testing.T) (rules []rbacv1.PolicyRule) {
	t.Helper()
	text, err := os.ReadFile("../manifests/base/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n---\n")
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict([]byte(first), &role); err != nil || len(role.Rules) == 0 {
		t.Fatal(errors.Join(err, errors.New("rbac.yaml begins with no ClusterRole that has rules")))
	}
	return role.Rules
}

// less are rules without one verb on one resource.
func less(rules []rbacv1.PolicyRule, group, resource, verb string) (rest []rbacv1.PolicyRule) {
	for _, r := range rules {
		for _, name := range r.Resources {
			verbs := slices.Clone(r.Verbs)
			if name == resource && r.APIGroups[0] == group {
				verbs = slices.DeleteFunc(verbs, func(v string) bool { return v == verb })
			}
			if len(verbs) > 0 {
				rest = append(rest, rbacv1.PolicyRule{APIGroups: r.APIGroups, Resources: []string{name}, Verbs: verbs})
			}
		}
	}
	return rest
}
