package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/policy"
)

// subject is what an agent knows of policy.
type subject struct {
	*Policies
	changes chan struct{}
	known   map[string]PolicyChange
}

// await waits for a change after which all is as wanted. Changes that nobody is told of are not seen.
func (s *subject) await(t *testing.T, what string, wanted func(known map[string]PolicyChange) bool) {
	t.Helper()
	for timeout := time.After(patience); ; {
		for _, c := range s.Changes() {
			key := fmt.Sprintf("%s %s/%s", c.Kind, c.Namespace, c.Name)
			if c.Pod == nil && c.NamespaceIs == nil && c.Node == nil && c.Policy == nil && c.ClusterPolicy == nil {
				delete(s.known, key)
				continue
			}
			s.known[key] = c
		}
		if wanted(s.known) {
			return
		}
		select {
		case <-s.changes:
		case <-timeout:
			t.Fatalf("waited for %s; known is %v", what, s.known)
		}
	}
}

// testPolicies: what policy reads comes, changes and goes, and nobody is told of what it does not read; the kind of ClusterNetworkPolicies comes late,
// and with the first that names nodes they are known too.
func (s *server) testPolicies(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	f := &subject{changes: make(chan struct{}, 10000), known: map[string]PolicyChange{}}
	f.Policies = s.agent(t, "n1", Options{}).WatchPolicies(ctx, func() { f.changes <- struct{}{} })
	defer f.Wait()
	defer cancel()
	if err := f.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	f.await(t, "the namespace", func(known map[string]PolicyChange) bool {
		c := known["Namespace /default"]
		return c.NamespaceIs != nil && c.NamespaceIs.Labels["kubernetes.io/metadata.name"] == "default"
	})
	s.podChanges(ctx, t, f)

	policies := s.admin.NetworkingV1().NetworkPolicies("default")
	if _, err := policies.Create(ctx, &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "deny"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "the NetworkPolicy", func(known map[string]PolicyChange) bool { return known["NetworkPolicy default/deny"].Policy != nil })
	if err := policies.Delete(ctx, "deny", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "its end", func(known map[string]PolicyChange) bool { return known["NetworkPolicy default/deny"].Policy == nil })

	if err := s.ApplyFiles(ctx, networkPolicyAPI(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, []byte(`
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: nodes}
spec:
  tier: Admin
  priority: 5
  subject: {namespaces: {}}
  egress:
  - action: Deny
    to: [{nodes: {matchLabels: {policed: "yes"}}}]
`)); err != nil {
		t.Fatal(err)
	}
	s.patch(t, "n2", `{"metadata":{"labels":{"policed":"yes"}}}`)
	f.await(t, "the ClusterNetworkPolicy and the Node that it names", func(known map[string]PolicyChange) bool {
		c, n := known["ClusterNetworkPolicy /nodes"].ClusterPolicy, known["Node /n2"].Node
		return c != nil && c.Spec.Priority == 5 && len(c.Spec.Egress) == 1 && n != nil && n.Labels["policed"] == "yes" && len(n.Addresses) > 1
	})
	if f.Ref(ClusterPolicyKind, "", "nodes").UID == "" || f.Ref(NetworkPolicyKind, "default", "deny").UID != "" {
		t.Error("a policy that is there has no UID, or one that is not has one")
	}
}

// podChanges are those of a pod's life.
func (s *server) podChanges(ctx context.Context, t *testing.T, f *subject) {
	t.Helper()
	pods := s.admin.CoreV1().Pods("default")
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "policed", Labels: map[string]string{"app": "a"}},
		Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{
			Name: "c", Image: "i", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	is := func(wanted func(policy.Pod) bool) func(map[string]PolicyChange) bool {
		return func(known map[string]PolicyChange) bool {
			c := known["Pod default/policed"]
			return c.Pod != nil && wanted(*c.Pod)
		}
	}
	status := func(phase corev1.PodPhase, message string) {
		t.Helper()
		pod.Status.Phase, pod.Status.Message = phase, message
		pod.Status.PodIP, pod.Status.PodIPs = "10.244.1.9", []corev1.PodIP{{IP: "10.244.1.9"}}
		if pod, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f.await(t, "the pod", is(func(p policy.Pod) bool { return p.Labels["app"] == "a" && len(p.Ports) == 1 && len(p.Addresses) == 0 }))
	status(corev1.PodRunning, "")
	f.await(t, "its address", is(func(p policy.Pod) bool { return len(p.Addresses) == 1 }))
	for range len(f.changes) {
		<-f.changes
	}
	for i := range 5 {
		status(corev1.PodRunning, fmt.Sprint("beat ", i))
	}
	if pod, err = pods.Patch(ctx, "policed", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "its label", is(func(p policy.Pod) bool { return p.Labels["app"] == "b" }))
	if changes := f.Changes(); len(f.changes) > 1 || len(changes) > 0 { // the label's may just be coming
		t.Errorf("told of %d changes more, %v, by a pod's heartbeats", len(f.changes), changes)
	}
	status(corev1.PodSucceeded, "")
	f.await(t, "its end", func(known map[string]PolicyChange) bool { return known["Pod default/policed"].Pod == nil })
	if err := pods.Delete(ctx, "policed", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
}

// networkPolicyAPI is the folder of the CustomResourceDefinition of ClusterNetworkPolicies, in the module's own: the one that has `nodes` and
// `domainNames`.
func networkPolicyAPI(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/network-policy-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(out)), "config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml")
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	return file
}
