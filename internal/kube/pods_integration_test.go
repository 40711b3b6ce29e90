package kube

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/mesh"
)

// testPodsHere: the Pods of the own node, and of no other, also those that are known to the runtime by another UID.
func (s *server) testPodsHere(t *testing.T) {
	add := func(name, node string, annotations map[string]string) *corev1.Pod {
		t.Helper()
		pods := s.admin.CoreV1().Pods("default")
		pod, err := pods.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
			Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pod
	}
	here, static, elsewhere := add("here", "n1", nil), add("static-n1", "n1", map[string]string{annotationConfigHash: "abc"}), add("elsewhere", "n2", nil)
	client := s.agent(t, "n1", Options{NodeName: "n1"})
	got, err := client.PodsHere(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, uid string
		want      bool
	}{
		{"here", string(here.UID), true},
		{"here", "", true},
		{"here", "of one before of that name", false},
		{"static-n1", "abc", true},
		{"static-n1", string(static.UID), true},
		{"elsewhere", string(elsewhere.UID), false},
		{"elsewhere", "", false},
	} {
		if got.Has("default", c.name, c.uid) != c.want {
			t.Errorf("pod %s of UID %q is here: %v", c.name, c.uid, !c.want)
		}
	}
}

// testSurvey: all Nodes' grants and claims, and the Pods that have a network of their own.
func (s *server) testSurvey(t *testing.T) {
	pods := s.admin.CoreV1().Pods("default")
	spec := corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}}}
	hosts := spec
	hosts.HostNetwork = true
	for name, spec := range map[string]corev1.PodSpec{"surveyed": spec, "ended": spec, "of-the-host": hosts} {
		pod, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pod.Status.Phase, pod.Status.PodIPs = corev1.PodRunning, []corev1.PodIP{{IP: "10.244.1.2"}, {IP: "fd44::2"}}
		if name == "ended" {
			pod.Status.Phase = corev1.PodSucceeded
		}
		pod.Status.PodIP = pod.Status.PodIPs[0].IP
		if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.addPool(t, "surveyed", "10.91.0.0/24", 28)
	if err := s.agent(t, "n1", Options{}).ClaimBlock(t.Context(), ofNode("10.91.0.16/28", "surveyed", s.node(t, "n1").UID)); err != nil {
		t.Fatal(err)
	}
	got, err := readSurvey(t.Context(), s.admin, s.ours)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range got.Pods {
		names[p.Name] = true
		want := survey.Pod{Name: "default/surveyed", Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd44::2")}, Running: true}
		if diff := cmp.Diff(want, p, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); p.Name == want.Name && diff != "" {
			t.Errorf("pod (-want +got):\n%s", diff)
		}
	}
	if !names["default/surveyed"] || names["default/ended"] || names["default/of-the-host"] {
		t.Errorf("pods %v", names)
	}
	for _, granted := range append(s.node(t, "n1").Spec.PodCIDRs, "10.91.0.16/28") {
		if !slices.ContainsFunc(got.Nodes, func(n mesh.Node) bool {
			return n.Name == "n1" && slices.Contains(n.Grants, netip.MustParsePrefix(granted))
		}) {
			t.Errorf("nodes %v, want n1 to have %s", got.Nodes, granted)
		}
	}
	if !slices.ContainsFunc(got.InPools(), func(p survey.Pool) bool { return p.Name == "surveyed" && p.Claimed == 1 && p.Blocks[0].Node == "n1" }) {
		t.Errorf("pools %v", got.InPools())
	}
	for name := range map[string]bool{"surveyed": true, "ended": true, "of-the-host": true} {
		if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Error(err)
		}
	}
}
