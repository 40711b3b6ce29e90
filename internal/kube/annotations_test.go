package kube

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/mesh"
)

// fullNode is a Node with something in every place that matters here.
func fullNode(name string) *corev1.Node {
	created := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: "uid-1", ResourceVersion: "42", CreationTimestamp: created,
			Labels: map[string]string{"a": "b", mesh.LabelChanged: ""},
			Annotations: map[string]string{
				mesh.AnnotationPublicKey:        "key",
				mesh.AnnotationEndpointOverride: "192.0.2.9:51820",
				mesh.AnnotationPrefix + "other": "not read",
				"node.alpha.kubernetes.io/ttl":  "0",
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.NodeSpec{PodCIDR: "10.244.0.0/24", PodCIDRs: []string{"10.244.0.0/24"}, ProviderID: "x"},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}},
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeReady, Status: corev1.ConditionTrue},
				{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue},
			},
			Images: []corev1.ContainerImage{{Names: []string{"image"}}},
		},
	}
}

func TestHugeAnnotationsAreCut(t *testing.T) {
	node := fullNode("n1")
	node.Annotations[mesh.AnnotationEndpoints] = strings.Repeat("192.0.2.1:51820,", 10000)
	node.Annotations[mesh.AnnotationPublicKey] = strings.Repeat("A", 100000)
	for name, value := range keepAnnotations(node.Annotations) {
		if len(value) > maxKeptBytes {
			t.Errorf("%s: %d bytes are kept", name, len(value))
		}
	}
	if len(seenWhole(node).claim.Malformed) > 1024 {
		t.Error("what is malformed is told at length")
	}
	set := &nodeSet{}
	set.set(seenWhole(node))
	if nodes, _ := set.snapshot(nobody); nodes[0].Malformed == "" {
		t.Error("the Node is not malformed")
	}
}
