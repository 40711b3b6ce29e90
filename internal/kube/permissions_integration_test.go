package kube

import (
	"fmt"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testPermissions takes each verb on each resource from the agent in turn, which the agent learns of.
func (s *server) testPermissions(t *testing.T) {
	client := s.agent(t, "n1", Options{NodeName: "n1", WatchPools: true, WatchServiceCIDRs: true})
	roles := s.admin.RbacV1().ClusterRoles()
	whole, err := roles.Get(t.Context(), "warren", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set := func(rules []rbacv1.PolicyRule) {
		t.Helper()
		role, err := roles.Get(t.Context(), "warren", metav1.GetOptions{})
		if err == nil {
			role.Rules = rules
			_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	missing := func(want string) {
		t.Helper()
		var got []Permission
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			var err error
			if got, err = client.MissingPermissions(t.Context(), true, true); err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].For = ""
			}
			if text := fmt.Sprint(got); text == want {
				return
			}
		}
		t.Errorf("missing: %v, want %s", got, want)
	}
	missing("[]")
	for _, p := range (Needs{Mesh: true, Policy: true, Pools: true, ServiceCIDRs: true}).permissions() {
		p.For = ""
		set(without(whole.Rules, p))
		missing(fmt.Sprint([]Permission{p}))
	}
	set(whole.Rules)
	missing("[]")
}

// without are rules less one permission.
func without(rules []rbacv1.PolicyRule, p Permission) (rest []rbacv1.PolicyRule) {
	for _, r := range rules {
		for _, resource := range r.Resources {
			verbs := slices.Clone(r.Verbs)
			if resource == p.Resource && r.APIGroups[0] == p.Group {
				verbs = slices.DeleteFunc(verbs, func(v string) bool { return v == p.Verb })
			}
			if len(verbs) > 0 {
				rest = append(rest, rbacv1.PolicyRule{APIGroups: r.APIGroups, Resources: []string{resource}, Verbs: verbs})
			}
		}
	}
	return rest
}
