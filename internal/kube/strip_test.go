package kube

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/warren-mesh/warren/mesh"
)

// fullNode is a Node with something in every place that matters here.
func fullNode(name string) *corev1.Node {
	created := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: "uid-1", ResourceVersion: "42", CreationTimestamp: created,
			Labels: map[string]string{"a": "b"},
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

func TestStripKeepsOnlyWhatIsRead(t *testing.T) {
	full := fullNode("n1")
	other := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "n1", UID: "uid-1", ResourceVersion: "42", CreationTimestamp: full.CreationTimestamp,
			Annotations: map[string]string{
				mesh.AnnotationPublicKey:        "key",
				mesh.AnnotationEndpointOverride: "192.0.2.9:51820",
			},
		},
		Spec: corev1.NodeSpec{PodCIDRs: []string{"10.244.0.0/24"}},
	}
	own := other.DeepCopy()
	own.Status.Addresses = full.Status.Addresses
	own.Status.Conditions = full.Status.Conditions[1:]

	for name, want := range map[string]*corev1.Node{"n2": other, "n1": own} {
		got, err := stripper(name)(fullNode("n1"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seen from %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStripLeavesTombstones(t *testing.T) {
	tombstone := cache.DeletedFinalStateUnknown{Key: "n1"}
	got, err := stripper("n1")(tombstone)
	if err != nil || got != tombstone {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestStripCutsHugeAnnotations(t *testing.T) {
	node := fullNode("n1")
	node.Annotations[mesh.AnnotationEndpoints] = strings.Repeat("192.0.2.1:51820,", 10000)
	node.Annotations[mesh.AnnotationPublicKey] = strings.Repeat("A", 100000)
	for name, value := range strip(node, false).Annotations {
		if len(value) > maxKeptBytes {
			t.Errorf("%s: %d bytes are kept", name, len(value))
		}
	}
	if set := (&nodeSet{}); !set.set(strip(node, false)) || set.byName["n1"].Malformed == "" {
		t.Error("the Node is not malformed")
	}
}
