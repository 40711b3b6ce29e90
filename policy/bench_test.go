package policy_test

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/bench/policy/cluster"
	"github.com/warren-mesh/warren/policy"
)

// scales are what the benchmarks have the same event cost at.
var scales = []struct {
	name string
	pods int
}{{"1000_pods", 1000}, {"10000_pods", 10000}, {"100000_pods", 100000}}

// onEach runs a benchmark at each scale, on an index that knows the whole cluster.
func onEach(b *testing.B, event func(x *policy.Index, c cluster.Cluster, i int)) {
	for _, s := range scales {
		b.Run(s.name, func(b *testing.B) {
			c, x := cluster.New(s.pods), policy.NewIndex()
			c.Tell(x)
			x.Take()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				event(x, c, i)
				x.Take()
			}
		})
	}
}

func BenchmarkPodComesAndGoes(b *testing.B) {
	onEach(b, func(x *policy.Index, c cluster.Cluster, i int) {
		p := c.Pod(c.Pods + i/2%10000)
		if i%2 == 0 {
			x.SetPod(p)
		} else {
			x.DeletePod(p.PodKey)
		}
	})
}

func BenchmarkNamespaceRelabelled(b *testing.B) {
	onEach(b, func(x *policy.Index, c cluster.Cluster, i int) {
		n := c.Namespace(i / 2 % c.Namespaces)
		if i%2 == 0 {
			n.Labels["team"] = "team-0"
		}
		x.SetNamespace(n)
	})
}

func BenchmarkPolicyComesAndGoes(b *testing.B) {
	onEach(b, func(x *policy.Index, c cluster.Cluster, i int) {
		p := c.NetworkPolicy(c.LocalPod(i/20%cluster.Locals)/100, 10+i/2%10)
		if i%2 == 0 {
			x.SetPolicy(p)
		} else {
			x.DeletePolicy(p.Namespace, p.Name)
		}
	})
}

func BenchmarkFirstSync(b *testing.B) {
	for _, s := range scales {
		b.Run(s.name, func(b *testing.B) {
			c := cluster.New(s.pods)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				x := policy.NewIndex()
				c.Tell(x) // which makes the objects, too
				x.Take()
			}
		})
	}
}

// TestEventsVisitWhatTheyCouldMatch: how often labels are compared follows from what an event is about, and not from how much there is.
func TestEventsVisitWhatTheyCouldMatch(t *testing.T) {
	for _, kind := range []struct {
		name  string
		event func(x *policy.Index, c cluster.Cluster)
		most  uint64
	}{
		{"pod add", func(x *policy.Index, c cluster.Cluster) {
			p := c.Pod(c.Pods)
			p.Labels["version"] = "new"
			x.SetPod(p)
		}, 40},
		{"pod of known labels", func(x *policy.Index, c cluster.Cluster) { x.SetPod(c.Pod(c.Pods)) }, 0},
		{"pod delete", func(x *policy.Index, c cluster.Cluster) { x.DeletePod(c.Pod(0).PodKey) }, 0},
		{"namespace relabel", func(x *policy.Index, c cluster.Cluster) {
			n := c.Namespace(0)
			n.Labels["team"] = "team-1"
			x.SetNamespace(n)
		}, 200},
		{"policy add", func(x *policy.Index, c cluster.Cluster) { x.SetPolicy(c.NetworkPolicy(0, 14)) }, 120},
		{"policy add, of pods in all namespaces", func(x *policy.Index, c cluster.Cluster) {
			p := c.NetworkPolicy(0, 10)
			p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{
				NamespaceSelector: &metav1.LabelSelector{}, PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"pod-template-hash": "1f"}},
			}}}}
			x.SetPolicy(p)
		}, 300},
	} {
		t.Run(kind.name, func(t *testing.T) {
			for _, pods := range []int{1000, 10000} {
				c, x := cluster.New(pods), policy.NewIndex()
				c.Tell(x)
				x.Take()
				before := x.Stats().Evaluations
				kind.event(x, c)
				x.Take()
				if compared := x.Stats().Evaluations - before; compared > kind.most {
					t.Errorf("with %d pods it compared %d times, want at most %d", pods, compared, kind.most)
				} else {
					t.Logf("with %d pods it compared %d times", pods, compared)
				}
			}
		})
	}
}
