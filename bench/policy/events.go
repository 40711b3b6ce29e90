package main

import (
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/bench/policy/cluster"
)

// event is a kind of event. What prepare returns is what is measured: everything that is not the index's work is done before.
type event struct {
	name    string
	prepare func(s *subject, i int) func()
}

// events follow one upon another in each round; pods come before they go. All happen in namespaces that have a pod on the node, whose
// policies look at them.
var events = []event{
	{"pod add", func(s *subject, i int) func() {
		p := s.Pod(s.newPod(i))
		return func() { s.index.SetPod(p) }
	}},
	{"pod relabel", func(s *subject, i int) func() {
		p := s.Pod(s.newPod(i))
		p.Labels["tier"], p.Labels["app"] = "relabelled", "app-1"
		return func() { s.index.SetPod(p) }
	}},
	{"pod delete", func(s *subject, i int) func() {
		key := s.Pod(s.newPod(i)).PodKey
		return func() { s.index.DeletePod(key) }
	}},
	{"pod add on the node", func(s *subject, i int) func() {
		n := s.newPod(i)
		p, l := s.Pod(n), s.Local(n)
		return func() {
			s.index.SetLocal(l)
			s.index.SetPod(p)
		}
	}},
	{"pod delete on the node", func(s *subject, i int) func() {
		n := s.newPod(i)
		p, l := s.Pod(n), s.Local(n)
		return func() {
			s.index.DeletePod(p.PodKey)
			s.index.DeleteLocal(l.Interface)
		}
	}},
	{"namespace relabel", func(s *subject, i int) func() {
		n := s.Namespace(s.localNamespace(i))
		if i/s.looked()%2 == 0 {
			n.Labels["team"] = "team-0"
		}
		return func() { s.index.SetNamespace(n) }
	}},
	{"policy add", func(s *subject, i int) func() {
		p := s.NetworkPolicy(s.localNamespace(i), 10+i)
		return func() { s.index.SetPolicy(p) }
	}},
	{"policy delete", func(s *subject, i int) func() {
		p := s.NetworkPolicy(s.localNamespace(i), 10+i)
		return func() { s.index.DeletePolicy(p.Namespace, p.Name) }
	}},
	{"policy add, of pods in all namespaces", func(s *subject, i int) func() {
		p := s.NetworkPolicy(s.localNamespace(i), 10+i)
		p.Spec = networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"pod-template-hash": fmt.Sprintf("%x", i)}},
		}}}}}
		return func() { s.index.SetPolicy(p) }
	}},
}

// looked is how many namespaces have a pod on the node.
func (s *subject) looked() int { return min(s.Namespaces, cluster.Locals) }

// localNamespace is one of them, by turns.
func (s *subject) localNamespace(i int) int {
	if s.Namespaces <= cluster.Locals {
		return i % s.Namespaces
	}
	return s.NamespaceOf(s.LocalPod(i % cluster.Locals))
}

// newPod is the number of the i-th pod that events bring, in a namespace that has a pod on the node.
func (s *subject) newPod(i int) int {
	return s.NumberOf(s.Namespaces+s.localNamespace(i), i/s.looked())
}
