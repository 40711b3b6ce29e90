// Package cluster makes clusters of any number of pods, with the policies that such clusters have: for benches and benchmarks.
//
// A namespace has 100 pods in 9 Deployments and a StatefulSet, whose pods have labels of their own, and 10 NetworkPolicies. 20
// ClusterNetworkPolicies are for all. 110 of the pods, each of another namespace as far as there are as many, are on the node that is
// looked at. Everything follows from the numbers.
package cluster

import (
	"fmt"
	"net/netip"

	"github.com/warren-mesh/warren/policy"
)

const (
	// PerNamespace is how many pods a namespace has.
	PerNamespace  = 100
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
func New(pods int) Cluster { return Cluster{pods, max(1, (pods+PerNamespace-1)/PerNamespace)} }

// Policies is how many NetworkPolicies and ClusterNetworkPolicies it has.
func (c Cluster) Policies() int {
	return c.Namespaces*len(templates) + len(tiers)*clusterPoliciesPerTier
}

// NamespaceOf is the number of a pod's namespace.
func (c Cluster) NamespaceOf(pod int) int { return pod / PerNamespace % c.Namespaces }

// NumberOf is that of the i-th pod of a namespace. Numbers of namespaces beyond the cluster's are those of more pods in the same ones.
func (c Cluster) NumberOf(namespace, i int) int { return namespace*PerNamespace + i%PerNamespace }

// Pod is the i-th: its labels are its own map, as those that a watch brings. Any number beyond the cluster's pods is another one.
func (c Cluster) Pod(i int) policy.Pod {
	ns := c.NamespaceOf(i)
	app := i % PerNamespace / perDeployment
	p := policy.Pod{
		PodKey: policy.PodKey{Namespace: namespace(ns), Name: fmt.Sprintf("app-%d-%x-%d", app, ns*31+app, i)},
		Labels: map[string]string{
			"app": fmt.Sprintf("app-%d", app), "tier": []string{"web", "api", "db"}[app%3], "pod-template-hash": fmt.Sprintf("%x", ns*31+app),
			"app.kubernetes.io/part-of": fmt.Sprintf("product-%d", ns%50),
		},
		Addresses: addresses(i),
		Ports:     []policy.NamedPort{{Name: "http", Protocol: policy.TCP, Port: uint16(8000 + app)}, {Name: "metrics", Protocol: policy.TCP, Port: 9090}},
	}
	if app == PerNamespace/perDeployment-1 {
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

// Node is the i-th of the cluster's.
func (c Cluster) Node(i int) policy.Node {
	return policy.Node{
		Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{"zone": fmt.Sprint(i % 3)}, //nolint:perfsprint // as it reads
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)})}, //nolint:gosec // bounded
	}
}

// Nodes is how many nodes it has.
func (c Cluster) Nodes() int { return max(3, c.Pods/Locals) }

// Tell is what an agent does when its watches list everything: each object is made when its turn comes, and only the index keeps it.
func (c Cluster) Tell(x *policy.Index) {
	for i := range c.Namespaces {
		x.SetNamespace(c.Namespace(i))
	}
	for i := range c.Nodes() {
		x.SetNode(c.Node(i))
	}
	for i := range c.Pods {
		x.SetPod(c.Pod(i))
	}
	for i := range c.Namespaces {
		for _, p := range c.NetworkPolicies(i) {
			x.SetPolicy(p)
		}
	}
	for _, p := range clusterPolicies() {
		x.SetClusterPolicy(p)
	}
	for i := range min(Locals, c.Pods) {
		x.SetLocal(c.Local(c.LocalPod(i)))
	}
}
