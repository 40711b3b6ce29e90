// Package cluster makes clusters of any number of pods, with the policies that such clusters have: for benches and benchmarks.
//
// A namespace has 100 pods in 9 Deployments and a StatefulSet, whose pods have labels of their own, and 10 NetworkPolicies. 20
// ClusterNetworkPolicies are for all. 110 of the pods, each of another namespace as far as there are as many, are on the node that is
// looked at. Everything follows from the numbers.
package cluster

import (
	"fmt"
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/warren-mesh/warren/policy"
)

const (
	perNamespace  = 100
	perDeployment = 10
	// Locals is how many pods the node has, as kubelets take by default.
	Locals = 110
	// MinPods give events enough namespaces to happen in.
	MinPods = 1000
	// MaxPods have addresses, and as many more that events bring.
	MaxPods = 1000000
)

// Cluster is one of a number of pods.
type Cluster struct {
	Pods       int
	Namespaces int
}

// New is a cluster; its last namespace may have fewer pods than the others.
func New(pods int) Cluster { return Cluster{pods, max(1, (pods+perNamespace-1)/perNamespace)} }

// Policies is how many NetworkPolicies and ClusterNetworkPolicies it has.
func (c Cluster) Policies() int {
	return c.Namespaces*len(templates) + len(tiers)*clusterPoliciesPerTier
}

// NamespaceOf is the number of a pod's namespace.
func (c Cluster) NamespaceOf(pod int) int { return pod / perNamespace % c.Namespaces }

// NumberOf is that of the i-th pod of a namespace. Numbers of namespaces beyond the cluster's are those of more pods in the same ones.
func (c Cluster) NumberOf(namespace, i int) int { return namespace*perNamespace + i%perNamespace }

// Pod is the i-th: its labels are its own map, as those that a watch brings. Any number beyond the cluster's pods is another one.
func (c Cluster) Pod(i int) policy.Pod {
	ns := c.NamespaceOf(i)
	app := i % perNamespace / perDeployment
	p := policy.Pod{
		PodKey: policy.PodKey{Namespace: namespace(ns), Name: fmt.Sprintf("app-%d-%x-%d", app, ns*31+app, i)},
		Labels: map[string]string{
			"app": fmt.Sprintf("app-%d", app), "tier": []string{"web", "api", "db"}[app%3], "pod-template-hash": fmt.Sprintf("%x", ns*31+app),
			"app.kubernetes.io/part-of": fmt.Sprintf("product-%d", ns%50),
		},
		Addresses: addresses(i),
		Ports:     []policy.NamedPort{{Name: "http", Protocol: policy.TCP, Port: uint16(8000 + app)}, {Name: "metrics", Protocol: policy.TCP, Port: 9090}},
	}
	if app == perNamespace/perDeployment-1 {
		p.Labels["statefulset.kubernetes.io/pod-name"] = p.Name
	}
	return p
}

func addresses(i int) []netip.Addr {
	hi, mid, lo := byte(i>>16), byte(i>>8), byte(i) //nolint:gosec // bounded
	return []netip.Addr{
		netip.AddrFrom4([4]byte{10, 128 | hi, mid, lo}),
		netip.AddrFrom16([16]byte{0xfd, 0, 0x0a, 12: 0, 13: hi, 14: mid, 15: lo}),
	}
}

func namespace(i int) string { return fmt.Sprintf("ns-%04d", i) }

// Namespace is the i-th.
func (c Cluster) Namespace(i int) policy.Namespace {
	return policy.Namespace{Name: namespace(i), Labels: map[string]string{
		"kubernetes.io/metadata.name": namespace(i), "team": fmt.Sprintf("team-%d", i%100), "env": []string{"prod", "test"}[i%2],
	}}
}

// LocalPod is the number of the i-th pod on the node.
func (c Cluster) LocalPod(i int) int { return i * max(1, c.Pods/Locals) % c.Pods }

// Local is the interface of any pod.
func (c Cluster) Local(pod int) policy.Local {
	p := c.Pod(pod)
	return policy.Local{Interface: fmt.Sprintf("wrp%012x", pod), PodKey: p.PodKey, Addresses: p.Addresses}
}

// World is all of a cluster, for who tells an index of it.
type World struct {
	Cluster
	pods            []policy.Pod
	namespaces      []policy.Namespace
	nodes           []policy.Node
	locals          []policy.Local
	policies        []*networkingv1.NetworkPolicy
	clusterPolicies []*v1alpha2.ClusterNetworkPolicy
}

// World makes every object of the cluster.
func (c Cluster) World() World {
	w := World{Cluster: c, clusterPolicies: clusterPolicies()}
	for i := range c.Pods {
		w.pods = append(w.pods, c.Pod(i))
	}
	for i := range c.Namespaces {
		w.namespaces = append(w.namespaces, c.Namespace(i))
		w.policies = append(w.policies, c.NetworkPolicies(i)...)
	}
	for i := range max(3, c.Pods/Locals) {
		w.nodes = append(w.nodes, policy.Node{
			Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{"zone": fmt.Sprint(i % 3)}, //nolint:perfsprint // as it reads
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)})},
		})
	}
	for i := range min(Locals, c.Pods) {
		w.locals = append(w.locals, c.Local(c.LocalPod(i)))
	}
	return w
}

// Tell is what an agent does when its watches have listed everything.
func (w World) Tell(x *policy.Index) {
	for _, n := range w.namespaces {
		x.SetNamespace(n)
	}
	for _, n := range w.nodes {
		x.SetNode(n)
	}
	for _, p := range w.pods {
		x.SetPod(p)
	}
	for _, p := range w.policies {
		x.SetPolicy(p)
	}
	for _, p := range w.clusterPolicies {
		x.SetClusterPolicy(p)
	}
	for _, l := range w.locals {
		x.SetLocal(l)
	}
}
