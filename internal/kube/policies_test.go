package kube

import (
	"context"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/warren-mesh/warren/policy"
)

var compareAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestSeePod(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	port := func(name string, protocol corev1.Protocol, number int32) corev1.ContainerPort {
		return corev1.ContainerPort{Name: name, Protocol: protocol, ContainerPort: number}
	}
	got := seePod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", Labels: map[string]string{"app": "cart"}, ResourceVersion: "7"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{
				{Ports: []corev1.ContainerPort{port("http", "", 80), port("", "TCP", 81), port("dns", "UDP", 53), port("odd", "ICMP", 1)}},
				{Ports: []corev1.ContainerPort{port("http", "TCP", 80), port("sctp", "SCTP", 9)}},
			},
			InitContainers: []corev1.Container{
				{Ports: []corev1.ContainerPort{port("setup", "TCP", 1)}},
				{Ports: []corev1.ContainerPort{port("sidecar", "TCP", 2)}, RestartPolicy: &always},
			},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{
			{IP: "10.244.1.2"}, {IP: "bad"}, {IP: "fd00::2"}, {IP: "::ffff:10.244.1.2"},
		}},
	})
	want := policy.Pod{
		PodKey: policy.PodKey{Namespace: "shop", Name: "cart"}, Labels: map[string]string{"app": "cart"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd00::2")},
		Ports: []policy.NamedPort{
			{Name: "http", Protocol: policy.TCP, Port: 80}, {Name: "dns", Protocol: policy.UDP, Port: 53},
			{Name: "sctp", Protocol: policy.SCTP, Port: 9}, {Name: "sidecar", Protocol: policy.TCP, Port: 2},
		},
	}
	if diff := cmp.Diff(want, got.pod, compareAddrs); diff != "" || got.ended {
		t.Errorf("ended %v (-want +got):\n%s", got.ended, diff)
	}
}

// TestPolicyChanges: each object is told of once, as it is now; what changes nothing that we read is not.
func TestPolicyChanges(t *testing.T) {
	p, told := newPolicies(), 0
	pods := newMirror(func() { told++ }, p.setPod, p.pods.remove)
	pod := func(name, app string, phase corev1.PodPhase, beat string) *seenPod {
		return seePod(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": app}, ResourceVersion: beat},
			Status:     corev1.PodStatus{Phase: phase, PodIP: "10.244.1.2", Message: beat},
		})
	}
	for _, step := range []struct {
		name string
		do   func()
		told int
		want []string
	}{
		{"a list", func() { replace(t, pods, pod("a", "x", corev1.PodRunning, "1"), pod("b", "x", corev1.PodPending, "1")) }, 1, []string{"set shop/a x", "set shop/b x"}},
		{"heartbeats", func() {
			add(t, pods, pod("a", "x", corev1.PodRunning, "2"))
			add(t, pods, pod("b", "x", corev1.PodRunning, "3"))
		}, 1, nil},
		{"another label, twice", func() {
			add(t, pods, pod("a", "y", corev1.PodRunning, "4"))
			add(t, pods, pod("a", "z", corev1.PodRunning, "5"))
		}, 3, []string{"set shop/a z"}},
		{"it ends", func() { add(t, pods, pod("a", "z", corev1.PodSucceeded, "6")) }, 4, []string{"gone shop/a"}},
		{"it is deleted", func() { _ = pods.Delete(pod("a", "z", corev1.PodSucceeded, "7")) }, 4, nil},
		{"one comes and goes unseen", func() {
			add(t, pods, pod("c", "x", corev1.PodRunning, "8"))
			replace(t, pods, pod("b", "x", corev1.PodRunning, "9"))
		}, 6, []string{"gone shop/c"}},
		{"the same name in another namespace", func() { replace(t, pods) }, 7, []string{"gone shop/b"}},
	} {
		step.do()
		var got []string
		for _, c := range p.Changes() {
			what := "gone " + c.Namespace + "/" + c.Name
			if c.Pod != nil {
				what = "set " + c.Pod.String() + " " + c.Pod.Labels["app"]
			}
			got = append(got, what)
		}
		slices.Sort(got)
		if diff := cmp.Diff(step.want, got); diff != "" || told != step.told {
			t.Errorf("%s: told %d times, want %d (-want +got):\n%s", step.name, told, step.told, diff)
		}
	}
}

// TestUnreadableClusterPolicy: the others are not held up by it.
func TestUnreadableClusterPolicy(t *testing.T) {
	p := newPolicies()
	object := func(name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": map[string]any{"name": name}, "spec": spec,
		}}
	}
	p.setClusterPolicy(object("good", map[string]any{"tier": "Admin", "priority": int64(7)}))
	p.setClusterPolicy(object("bad", map[string]any{"tier": "Admin", "priority": "seven"}))
	changes := p.Changes()
	slices.SortFunc(changes, func(a, b PolicyChange) int { return strings.Compare(a.Name, b.Name) })
	if len(changes) != 2 || changes[0].ClusterPolicy != nil || !strings.Contains(changes[0].Unreadable, "priority") && !strings.Contains(changes[0].Unreadable, "cannot be read") ||
		changes[1].ClusterPolicy == nil || changes[1].ClusterPolicy.Spec.Priority != 7 {
		t.Errorf("changes %+v", changes)
	}
}

// TestClusterPoliciesThatAreNotServed: a cluster without the kind has none, and all the rest syncs.
func TestClusterPoliciesThatAreNotServed(t *testing.T) {
	server := httptest.NewServer(apiServer(map[string]string{
		"/api/v1/pods": "Pod", "/api/v1/namespaces": "PartialObjectMetadata", "/apis/networking.k8s.io/v1/networkpolicies": "NetworkPolicy",
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel() // before Close, which waits for the watches
	client, err := newClient(&rest.Config{Host: server.URL}, Options{NodeName: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	synced := make(chan struct{}, 10)
	p := client.WatchPolicies(ctx, func() { synced <- struct{}{} })
	t.Cleanup(p.Wait)
	if err := p.WaitForSync(ctx); err != nil || !p.Synced() {
		t.Fatalf("error %v, synced %v", err, p.Synced())
	}
	select {
	case <-synced:
	case <-ctx.Done():
		t.Error("an empty cluster synced, and nobody was told")
	}
}

func TestEqualNetworkPolicies(t *testing.T) {
	one := func(change func(*networkingv1.NetworkPolicy)) *networkingv1.NetworkPolicy {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p", UID: "1"}}
		change(p)
		return seeNetworkPolicy(p)
	}
	for name, c := range map[string]struct {
		change func(*networkingv1.NetworkPolicy)
		same   bool
	}{
		"nothing":               {func(*networkingv1.NetworkPolicy) {}, true},
		"its labels":            {func(p *networkingv1.NetworkPolicy) { p.Labels = map[string]string{"a": "b"} }, true},
		"others' notes":         {func(p *networkingv1.NetworkPolicy) { p.Annotations = map[string]string{"a": "b"} }, true},
		"an own note":           {func(p *networkingv1.NetworkPolicy) { p.Annotations = map[string]string{"warren.dev/stage": "preview"} }, false},
		"what it applies to":    {func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector.MatchLabels = map[string]string{"a": "b"} }, false},
		"that it was made anew": {func(p *networkingv1.NetworkPolicy) { p.UID = "2" }, false},
	} {
		if equalNetworkPolicies(one(func(*networkingv1.NetworkPolicy) {}), one(c.change)) != c.same {
			t.Errorf("a change of %s makes another policy: %v", name, c.same)
		}
	}
}
