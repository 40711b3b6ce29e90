package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/mesh"
)

// TestACopiedKey: a node that claims another's public key is refused by everybody, its victim loses nothing, also where the agents
// start afresh and where the thief's Node is the older one.
func TestACopiedKey(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3})
	s.meshed(ctx, t)
	// n1 is the oldest Node of the lab, and the thief.
	victim := publicKey(ctx, t, s.Node("n3"))
	stream := s.stream(ctx, t, "n2", "n3")
	if err := s.Node("n1").StopAgent(ctx); err != nil { // or it would put its own key back
		t.Fatal(err)
	}
	s.annotate(ctx, t, "n1", map[string]any{mesh.AnnotationPublicKey: victim})
	refused := func() error {
		status, err := s.Node("n2").Run(ctx, "warren", "status")
		if err != nil || !strings.Contains(status, "refused of n1 (KeyTaken)") || !strings.Contains(status, "peers: 1") {
			return fmt.Errorf("status %q, %w", status, err)
		}
		return nil
	}
	eventually(ctx, t, 10*time.Second, refused)
	if err := s.Node("n2").StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	s.startAgent(ctx, t, s.Node("n2"))
	eventually(ctx, t, 10*time.Second, refused)
	allowed := run(ctx, t, &s.Node("n2").Host, "", "wg", "show", "warren0", "allowed-ips")
	if want := victim + "\t" + s.Node("n3").PodCIDRs[0].String() + "\n"; allowed != want {
		t.Errorf("allowed IPs %q, want %q", allowed, want)
	}
	if result := stream.Stop(); result.Lost != 0 || result.Sent == 0 {
		t.Errorf("the victim: %s, want none lost", result)
	}
	s.sealed(ctx, t)
}

// TestNodeKeys: who deletes all of them disconnects nobody; a Node that joins without one is no peer, and is one with it.
func TestNodeKeys(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2})
	s.meshed(ctx, t)
	stream := s.stream(ctx, t, "n1", "n2")
	keys := s.nodeKeys(t)
	if err := keys.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	late := identity.PublicKey{1, 2, 3}
	s.register(ctx, t, "late", late, "10.244.99.0/24")
	says := func(peers, waiting string) {
		t.Helper()
		eventually(ctx, t, 10*time.Second, func() error {
			status, err := s.Node("n1").Run(ctx, "warren", "status")
			if err != nil || !strings.Contains(status, peers) || strings.Contains(status, "waiting for: late") != (waiting == "late") {
				return fmt.Errorf("status %q, %w", status, err)
			}
			return nil
		})
	}
	says("peers: 1", "late")
	makeNodeKey(ctx, t, keys, late, "late")
	says("peers: 2", "")
	if result := stream.Stop(); result.Lost != 0 || result.Sent == 0 {
		t.Errorf("%s, want none lost", result)
	}
	s.sealed(ctx, t)
}

// register makes a Node that was granted a pod CIDR and claims it.
func (s *scene) register(ctx context.Context, t *testing.T, name string, key identity.PublicKey, grant string) {
	t.Helper()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			mesh.AnnotationPublicKey: key.String(), mesh.AnnotationPodCIDRs: grant, mesh.AnnotationEndpoints: "172.30.0.99:51820",
		}},
		Spec: corev1.NodeSpec{PodCIDR: grant, PodCIDRs: []string{grant}},
	}
	if _, err := s.Cluster().Admin().CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestAGrantOutsideTheCluster: what no --cluster-cidr covers is refused, whoever granted it, and nothing of it is in the kernel.
func TestAGrantOutsideTheCluster(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2})
	s.meshed(ctx, t)
	stream := s.stream(ctx, t, "n1", "n2")
	key := identity.PublicKey{1, 2, 3}
	s.register(ctx, t, "outside", key, "10.245.0.0/24")
	makeNodeKey(ctx, t, s.nodeKeys(t), key, "outside")
	for _, n := range s.Nodes() {
		eventually(ctx, t, 10*time.Second, func() error {
			status, err := n.Run(ctx, "warren", "status")
			if err != nil || !strings.Contains(status, "refused of outside (OutsideCluster): pod CIDR 10.245.0.0/24") {
				return fmt.Errorf("status %q, %w", status, err)
			}
			return nil
		})
		if metric := scrape(ctx, t, n); !strings.Contains(metric, "warren_refused_claims{reason=\"OutsideCluster\"} 1\n") {
			t.Errorf("%s: no metric", n.Name)
		}
		state := run(ctx, t, &n.Host, "", "sh", "-ec", "ip route show table all; wg show warren0 allowed-ips; nft list ruleset")
		if strings.Contains(state, "10.245.") {
			t.Errorf("%s has what is outside the cluster:\n%s", n.Name, state)
		}
	}
	if result := stream.Stop(); result.Lost != 0 || result.Sent == 0 {
		t.Errorf("%s, want none lost", result)
	}
	s.sealed(ctx, t)
}

// TestTheNodeKeyComesFirst: an agent that cannot make its NodeKey publishes nothing, and all once it can.
func TestTheNodeKeyComesFirst(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2}, "n2")
	n2, roles := s.Node("n2"), s.Cluster().Admin().RbacV1().ClusterRoles()
	role, err := roles.Get(ctx, "warren", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rules := role.DeepCopy().Rules
	for i, rule := range role.Rules {
		if contains(rule.Resources, "nodekeys") {
			role.Rules[i].Verbs = slices.DeleteFunc(rule.Verbs, func(verb string) bool { return verb == "create" })
		}
	}
	if role, err = roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := n2.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 20*time.Second, func() error { return logged(n2, "publishing failed", "cannot create resource") })
	if claim := s.claim(ctx, t, "n2"); len(claim) > 0 {
		t.Errorf("it published without a NodeKey: %v", claim)
	}
	role.Rules = rules
	if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.meshed(ctx, t)
	s.sealed(ctx, t)
}

func (s *scene) nodeKeys(t *testing.T) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(s.Cluster().AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	return client.Resource(v1alpha1.GroupVersion.WithResource(v1alpha1.ResourceNodeKeys))
}

func makeNodeKey(ctx context.Context, t *testing.T, keys dynamic.ResourceInterface, key identity.PublicKey, node string) {
	t.Helper()
	if _, err := keys.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "NodeKey",
		"metadata": map[string]any{"name": v1alpha1.NodeKeyName(key)},
		"spec":     map[string]any{"publicKey": key.String(), "nodeName": node},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestATakenKey: a node whose key another took while its own NodeKey was gone makes a new key, and is back.
func TestATakenKey(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2})
	s.meshed(ctx, t)
	n2 := s.Node("n2")
	lost, err := identity.ParsePublicKey(publicKey(ctx, t, n2))
	if err != nil {
		t.Fatal(err)
	}
	if err := n2.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	keys := s.nodeKeys(t)
	if err := keys.Delete(ctx, v1alpha1.NodeKeyName(lost), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	makeNodeKey(ctx, t, keys, lost, "n1")
	s.startAgent(ctx, t, n2)
	eventually(ctx, t, 20*time.Second, func() error {
		if now := s.claim(ctx, t, "n2")[mesh.AnnotationPublicKey]; now == "" || now == lost.String() {
			return fmt.Errorf("it publishes %q", now)
		}
		return nil
	})
	s.meshed(ctx, t)
	wantLogged(t, n2, "another Node holds this node's public key")
	s.sealed(ctx, t)
}
