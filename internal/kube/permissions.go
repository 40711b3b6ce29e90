package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Permission is something that RBAC has to grant an agent.
type Permission struct {
	Verb, Group, Resource string
	// For is what the agent does by it.
	For string
}

func (p Permission) String() string {
	resource, sub, found := strings.Cut(p.Resource, "/")
	if p.Group != "" {
		resource += "." + p.Group
	}
	if found {
		resource += "/" + sub
	}
	return fmt.Sprintf("%s %s (%s)", p.Verb, resource, p.For)
}

// asked are the rules of manifests/base/rbac.yaml, in its order; a test compares them. Which an agent needs follows from its flags.
var asked = []struct {
	group, resources, verbs, purpose string
	needed                           func(Needs) bool
}{
	{"", "nodes", "get", "the own Node", func(n Needs) bool { return n.Mesh }},
	{"", "nodes", "list watch", "every node's grant and claim, and policy", always},
	{"", "nodes", "patch", "the own node's claim", func(n Needs) bool { return n.Mesh }},
	{"", "nodes/status", "patch", "the own Node's condition NetworkUnavailable", func(n Needs) bool { return n.Mesh }},
	{"warren.dev", "nodekeys", "create get list update watch", "whose each public key is", func(n Needs) bool { return n.Mesh }},
	{"warren.dev", "ippools ipreservations", "list watch", "where addresses come from", func(n Needs) bool { return n.Pools }},
	{"warren.dev", "ippools/status", "patch", "a pool's counters", func(n Needs) bool { return n.Pools }},
	{"warren.dev", "ipblocks", "create delete get list update watch", "the node's blocks of addresses", func(n Needs) bool { return n.Pools }},
	{"", "pods", "list", "leases of pods that are gone, and policy", always},
	{"", "pods", "watch", "policy", func(n Needs) bool { return n.Policy }},
	{"", "namespaces", "list watch", "policy", func(n Needs) bool { return n.Policy }},
	{"networking.k8s.io", "networkpolicies", "list watch", "policy", func(n Needs) bool { return n.Policy }},
	{"policy.networking.k8s.io", "clusternetworkpolicies", "list watch", "policy", func(n Needs) bool { return n.Policy }},
	{"", "namespaces pods", "get", "which pools a pod may have addresses of", func(n Needs) bool { return n.Pools }},
	{"networking.k8s.io", "servicecidrs", "list watch", "the service CIDRs, since --service-cidr is not given", func(n Needs) bool { return n.ServiceCIDRs }},
	{"events.k8s.io", "events", "create patch", "Events", always},
}

func always(Needs) bool { return true }

// Needs are what of the API an agent uses by its flags.
type Needs struct{ Mesh, Policy, Pools, ServiceCIDRs bool }

// permissions are those that an agent needs.
func (n Needs) permissions() (all []Permission) {
	for _, g := range asked {
		if !g.needed(n) {
			continue
		}
		for resource := range strings.FieldsSeq(g.resources) {
			for verb := range strings.FieldsSeq(g.verbs) {
				all = append(all, Permission{verb, g.group, resource, g.purpose})
			}
		}
	}
	return all
}

// MissingPermissions are those that the API server says the agent does not have. One request asks for all rules; only what these do not grant is asked
// for one by one, since authorizers other than RBAC need not tell their rules. An API server that has just started may know no roles yet. Where
// somebody has taken from everybody the right to ask (system:basic-user), nothing is known to be missing.
func (c *Client) MissingPermissions(ctx context.Context, mesh, policy bool) (missing []Permission, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reviews := c.writes.AuthorizationV1()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: metav1.NamespaceDefault}}
	rules, err := reviews.SelfSubjectRulesReviews().Create(ctx, review, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking what the agent may do: %w", err)
	}
	for _, p := range (Needs{Mesh: mesh, Policy: policy, Pools: c.pools, ServiceCIDRs: c.serviceCIDRs}).permissions() {
		if slices.ContainsFunc(rules.Status.ResourceRules, p.grantedBy) {
			continue
		}
		resource, sub, _ := strings.Cut(p.Resource, "/")
		answer, err := reviews.SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: p.Verb, Group: p.Group, Resource: resource, Subresource: sub},
		}}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("asking whether the agent may %s: %w", p, err)
		}
		if !answer.Status.Allowed {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

func (p Permission) grantedBy(rule authorizationv1.ResourceRule) bool {
	has := func(words []string, word string) bool {
		return slices.Contains(words, word) || slices.Contains(words, "*")
	}
	return len(rule.ResourceNames) == 0 && has(rule.Verbs, p.Verb) && has(rule.APIGroups, p.Group) && has(rule.Resources, p.Resource)
}
