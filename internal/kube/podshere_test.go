package kube

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/policy"
)

// TestPodsHere: the pods of the own node that have addresses of their own and have not ended, and the version is another only where these are others.
func TestPodsHere(t *testing.T) {
	p, c := newPolicies(), &Client{node: "n1"}
	see := func(name, node, address string, change func(*corev1.Pod)) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name, UID: "uid-" + "1"}, Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{PodIP: address},
		}
		if change != nil {
			change(pod)
		}
		p.setPod(c.seePod(pod))
	}
	want := func(when string, version uint64, names ...string) {
		t.Helper()
		got, v := p.Here()
		var wanted []PodHere
		for _, name := range names {
			wanted = append(wanted, PodHere{PodKey: policy.PodKey{Namespace: "x", Name: name}, UID: "uid-1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")}})
		}
		if diff := cmp.Diff(wanted, got, compareAddrs); diff != "" || v != version || p.HereVersion() != version {
			t.Errorf("%s: version %d, want %d (-want +got):\n%s", when, v, version, diff)
		}
	}
	see("b", "n2", "10.0.1.5", nil)
	see("c", "n1", "", nil)
	see("host", "n1", "192.168.0.1", func(p *corev1.Pod) { p.Spec.HostNetwork = true })
	want("nothing here", 0)
	see("a", "n1", "10.0.0.5", nil)
	want("one", 1, "a")
	see("a", "n1", "10.0.0.5", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "a"} })
	want("another label", 1, "a")
	see("a", "n1", "10.0.0.5", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	want("ended", 2)
	see("a", "n1", "10.0.0.5", nil)
	p.removePod("x/a")
	p.removePod("x/b")
	want("deleted", 4)
}
