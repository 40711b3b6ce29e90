package policy_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/policytest"
)

var exact = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// state is the state that events lead to.
type state struct {
	pods, ghosts map[policy.PodKey]policy.Pod
	namespaces   map[string]policy.Namespace
	nodes        map[string]policy.Node
	locals       map[string]policy.Local
	policies     map[string]*networkingv1.NetworkPolicy
	clusterwide  map[string]*v1alpha2.ClusterNetworkPolicy
}

func newState() *state {
	return &state{
		make(map[policy.PodKey]policy.Pod), make(map[policy.PodKey]policy.Pod), make(map[string]policy.Namespace), make(map[string]policy.Node),
		make(map[string]policy.Local), make(map[string]*networkingv1.NetworkPolicy), make(map[string]*v1alpha2.ClusterNetworkPolicy),
	}
}

func (c *state) interfaces(k policy.PodKey) (n int) {
	for _, l := range c.locals {
		if l.PodKey == k {
			n++
		}
	}
	return n
}

// begin brings pods of this node, and policies that apply to them: without those nothing is looked at.
func (c *state) begin(t *rapid.T, x *policy.Index) {
	for i, name := range []string{"p", "q", "r"} {
		p := drawPod(t)
		p.Name, p.HostNetwork = name, false
		l := policy.Local{Interface: fmt.Sprintf("wrp%d", i+1), PodKey: p.PodKey, Addresses: p.Addresses}
		c.pods[p.PodKey], c.locals[l.Interface] = p, l
		x.SetPod(p)
		x.SetLocal(l)
		n := drawPolicy(t)
		n.Namespace, n.Spec.PodSelector = p.Namespace, metav1.LabelSelector{}
		c.policies[n.Namespace+"/"+n.Name] = n
		x.SetPolicy(n)
	}
	nodes := drawSelector(t)
	guard := &v1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "u"}, Spec: v1alpha2.ClusterNetworkPolicySpec{
		Tier: v1alpha2.AdminTier, Subject: v1alpha2.ClusterNetworkPolicySubject{Namespaces: &metav1.LabelSelector{}},
		Egress: []v1alpha2.ClusterNetworkPolicyEgressRule{{Action: "Deny", To: []v1alpha2.ClusterNetworkPolicyEgressPeer{{Nodes: &nodes}}}},
	}}
	c.clusterwide[guard.Name] = guard
	x.SetClusterPolicy(guard)
}

// event changes the cluster, and tells the index.
func (c *state) event(t *rapid.T, x *policy.Index) {
	switch rapid.SampledFrom([]string{"pod", "pod", "pod", "namespace", "node", "local", "local", "policy", "policy", "clusterwide"}).Draw(t, "event") {
	case "pod":
		p := drawPod(t)
		if rapid.IntRange(0, 2).Draw(t, "removed") == 0 {
			if old, had := c.pods[p.PodKey]; had && c.interfaces(p.PodKey) > 0 {
				c.ghosts[p.PodKey] = old
			}
			delete(c.pods, p.PodKey)
			x.DeletePod(p.PodKey)
			return
		}
		delete(c.ghosts, p.PodKey)
		c.pods[p.PodKey] = p
		x.SetPod(p)
	case "namespace":
		n := policy.Namespace{Name: drawNamespace(t), Labels: drawLabels(t)}
		if rapid.IntRange(0, 2).Draw(t, "removed") == 0 {
			delete(c.namespaces, n.Name)
			x.DeleteNamespace(n.Name)
			return
		}
		c.namespaces[n.Name] = n
		x.SetNamespace(n)
	case "node":
		n := policy.Node{Name: rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "node"), Labels: drawLabels(t), Addresses: drawAddresses(t)}
		if rapid.IntRange(0, 2).Draw(t, "removed") == 0 {
			delete(c.nodes, n.Name)
			x.DeleteNode(n.Name)
			return
		}
		c.nodes[n.Name] = n
		x.SetNode(n)
	case "local":
		c.localEvent(t, x)
	case "policy":
		p := drawPolicy(t)
		if rapid.IntRange(0, 3).Draw(t, "removed") == 0 {
			delete(c.policies, p.Namespace+"/"+p.Name)
			x.DeletePolicy(p.Namespace, p.Name)
			return
		}
		c.policies[p.Namespace+"/"+p.Name] = p
		x.SetPolicy(p)
	case "clusterwide":
		p := drawClusterPolicy(t)
		if rapid.IntRange(0, 3).Draw(t, "removed") == 0 {
			delete(c.clusterwide, p.Name)
			x.DeleteClusterPolicy(p.Name)
			return
		}
		c.clusterwide[p.Name] = p
		x.SetClusterPolicy(p)
	}
}

func (c *state) localEvent(t *rapid.T, x *policy.Index) {
	l := policy.Local{
		Interface: rapid.SampledFrom([]string{"wrp1", "wrp2", "wrp3"}).Draw(t, "interface"), PodKey: drawPodKey(t), Addresses: drawAddresses(t),
	}
	old, had := c.locals[l.Interface]
	if rapid.IntRange(0, 2).Draw(t, "removed") == 0 {
		delete(c.locals, l.Interface)
		x.DeleteLocal(l.Interface)
	} else {
		c.locals[l.Interface] = l
		x.SetLocal(l)
	}
	if had && c.interfaces(old.PodKey) == 0 {
		delete(c.ghosts, old.PodKey)
	}
}

// fresh is an index that is told of the cluster at once, in an order that is drawn.
func (c *state) fresh(t *rapid.T) *policy.Index {
	x := policy.NewIndex()
	for _, p := range c.ghosts {
		x.SetPod(p)
	}
	for _, l := range c.locals {
		x.SetLocal(l)
	}
	for k := range c.ghosts {
		x.DeletePod(k)
	}
	kinds := []func(){
		func() { each(c.pods, x.SetPod) }, func() { each(c.namespaces, x.SetNamespace) }, func() { each(c.nodes, x.SetNode) },
		func() { each(c.policies, x.SetPolicy) }, func() { each(c.clusterwide, x.SetClusterPolicy) },
	}
	for _, kind := range rapid.Permutation(kinds).Draw(t, "order") {
		kind()
	}
	return x
}

func each[K comparable, V any](all map[K]V, do func(V)) {
	for _, v := range all {
		do(v)
	}
}

// TestIndexIsFresh: whatever came before, and however often somebody looked meanwhile, the ruleset is that of the final state, and the
// deltas lead to it.
func TestIndexIsFresh(t *testing.T) {
	policytest.Check(t, func(t *rapid.T) {
		c, x := newState(), policy.NewIndex()
		shadow := policy.Ruleset{Sets: map[string]policy.Set{}, Chains: map[string]policy.Chain{}, Pods: map[string]policy.Binding{}}
		c.begin(t, x)
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			for range rapid.IntRange(1, 20).Draw(t, "events") {
				c.event(t, x)
				if rapid.IntRange(0, 4).Draw(t, "looked at") == 0 {
					x.Ruleset()
				}
			}
			if err := apply(&shadow, x.Take()); err != nil {
				t.Fatal(err)
			}
			fresh := c.fresh(t)
			want, got := fresh.Ruleset(), x.Ruleset()
			if diff := cmp.Diff(want, got, exact); diff != "" {
				t.Fatalf("the index (-fresh +after events):\n%s", diff)
			}
			if diff := cmp.Diff(got, shadow, exact); diff != "" {
				t.Fatalf("the deltas (-ruleset +applied):\n%s", diff)
			}
			if diff := cmp.Diff(want.String(), got.String()); diff != "" {
				t.Fatalf("in words (-fresh +after events):\n%s", diff)
			}
			if diff := cmp.Diff(fresh.Problems(), x.Problems()); diff != "" {
				t.Fatalf("the problems (-fresh +after events):\n%s", diff)
			}
			if d := x.Take(); !d.Empty() {
				t.Fatalf("nothing happened, and %+v changed", d)
			}
			sameStats(t, fresh, x)
		}
		empty(t, c, x)
	})
}

// sameStats: nothing is kept that nobody needs.
func sameStats(t *rapid.T, want, got *policy.Index) {
	t.Helper()
	want.Take()
	w, g := want.Stats(), got.Stats()
	w.Evaluations, g.Evaluations = 0, 0
	if diff := cmp.Diff(w, g); diff != "" {
		t.Fatalf("what is held (-fresh +after events):\n%s", diff)
	}
}

// empty takes everything away again.
func empty(t *rapid.T, c *state, x *policy.Index) {
	for k := range c.pods {
		x.DeletePod(k)
	}
	for name := range c.locals {
		x.DeleteLocal(name)
	}
	for name := range c.namespaces {
		x.DeleteNamespace(name)
	}
	for name := range c.nodes {
		x.DeleteNode(name)
	}
	for _, p := range c.policies {
		x.DeletePolicy(p.Namespace, p.Name)
	}
	for name := range c.clusterwide {
		x.DeleteClusterPolicy(name)
	}
	x.Take()
	if diff := cmp.Diff(policy.NewIndex().Held(), x.Held()); diff != "" {
		t.Fatalf("nothing is left, and (-empty +held):\n%s", diff)
	}
}

// TestAPodIsExpected: what applies to a pod of this node is there before its interface, and goes with the later of the two.
func TestAPodIsExpected(t *testing.T) {
	x, err := parseScene(`pod a/web here app=web
pod a/elsewhere app=other
pod a/hosts here host app=other
---
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}
---
metadata: {name: other}
spec: {podSelector: {matchLabels: {app: other}}}
`)
	if err != nil {
		t.Fatal(err)
	}
	web := policy.PodKey{Namespace: "a", Name: "web"}
	before := x.Take()
	if len(before.ChainsAdded) != 1 || len(before.SetsAdded) == 0 || len(before.PodsSet) != 0 {
		t.Errorf("before its interface: %+v", before)
	}
	address := netip.MustParseAddr("10.0.0.1")
	x.SetLocal(policy.Local{Interface: "wrp1", PodKey: web, Addresses: []netip.Addr{address}})
	d := x.Take()
	if len(d.ChainsAdded)+len(d.SetsAdded)+len(d.ChainsRemoved)+len(d.SetsRemoved) != 0 {
		t.Errorf("its interface changes more than members: %+v", d)
	}
	if len(d.PodsSet) != 1 || d.PodsSet[0].Ingress != before.ChainsAdded[0].Name {
		t.Errorf("its interface is bound to %+v, want %s", d.PodsSet, before.ChainsAdded[0].Name)
	}
	x.DeletePod(web)
	if d := x.Take(); len(d.ChainsRemoved)+len(d.PodsRemoved) != 0 {
		t.Errorf("of a pod that is gone but for its interface goes %+v", d)
	}
	x.DeleteLocal("wrp1")
	if d := x.Take(); len(d.ChainsRemoved) != 1 || len(d.PodsRemoved) != 1 {
		t.Errorf("in the end goes %+v", d)
	}
}
