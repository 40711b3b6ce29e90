package kube

import (
	"fmt"
	"net/netip"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/warren-mesh/warren/policy"
)

func heardPods(p *Policies, count int) {
	for i := range count {
		pod := policy.Pod{PodKey: policy.PodKey{Namespace: fmt.Sprint("n", i%1000), Name: fmt.Sprint("p", i)}, Labels: map[string]string{"app": "x"},
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}}
		p.pods.set(pod.String(), pod)
	}
}

func TestWorld(t *testing.T) {
	p := newPolicies()
	heardPods(p, 3)
	p.namespaces.set("n0", policy.Namespace{Name: "n0"})
	p.nodes.heard.set("a", policy.Node{Name: "a"})
	p.policies.set("n0/p", &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n0", Name: "p"}})
	p.clusterPolicy.set("unreadable", clusterPolicy{problem: "no"})
	if p.Previewed() {
		t.Error("it says that a policy is previewed, and none is")
	}
	p.clusterPolicy.set("later", clusterPolicy{read: &v1alpha2.ClusterNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "later", Annotations: map[string]string{policy.StageAnnotation: policy.StagePreview}},
	}})
	if !p.Previewed() {
		t.Error("it says that no policy is previewed, and one is")
	}
	w := p.World(nil)
	if len(w.Pods) != 3 || len(w.Namespaces) != 1 || len(w.Nodes) != 1 || len(w.Policies) != 1 || len(w.ClusterPolicies) != 1 {
		t.Errorf("%+v", w)
	}
	w = p.World(func(pod policy.Pod) bool { return pod.Name == "p1" })
	if len(w.Pods) != 1 || w.Pods[0].Name != "p1" || len(w.Policies) != 1 {
		t.Errorf("%+v", w)
	}
	if changes := p.Changes(); len(changes) != 8 {
		t.Errorf("of 8 changes %d are left to be taken", len(changes))
	}
}

// BenchmarkWorld is of what one command costs an agent that knows 100,000 pods, and one naming of denied packets.
func BenchmarkWorld(b *testing.B) {
	p := newPolicies()
	heardPods(p, 100_000)
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.World(nil)
		}
	})
	b.Run("by address", func(b *testing.B) {
		wanted := map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true, netip.MustParseAddr("10.0.7.1"): true}
		b.ReportAllocs()
		for b.Loop() {
			p.World(func(pod policy.Pod) bool {
				for _, a := range pod.Addresses {
					if wanted[a] {
						return true
					}
				}
				return false
			})
		}
	})
}
