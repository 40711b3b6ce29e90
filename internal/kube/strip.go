package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/mesh"
)

// maxKeptBytes is more than mesh reads of any annotation: what is cut here is malformed either way, but a hostile Node's
// 256 KiB are not kept in every agent's memory.
const maxKeptBytes = 8192

// readAnnotations are what we read of a Node's annotations: a claim's, and the operator's override.
var readAnnotations = func() []string {
	names := []string{mesh.AnnotationEndpointOverride}
	for name := range (mesh.Claim{}).Annotations() {
		names = append(names, name)
	}
	return names
}()

// strip is the transform of the own Node's informer: it keeps what we read.
func strip(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil // a DeletedFinalStateUnknown, which holds a stripped one
	}
	kept := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:              node.Name,
			UID:               node.UID,
			ResourceVersion:   node.ResourceVersion,
			CreationTimestamp: node.CreationTimestamp,
			Annotations:       keepAnnotations(node.Annotations),
		},
		Spec:   corev1.NodeSpec{PodCIDRs: node.Spec.PodCIDRs},
		Status: corev1.NodeStatus{Addresses: node.Status.Addresses},
	}
	if value, ok := node.Labels[mesh.LabelChanged]; ok {
		kept.Labels = map[string]string{mesh.LabelChanged: value}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeNetworkUnavailable {
			kept.Status.Conditions = []corev1.NodeCondition{condition}
		}
	}
	return kept, nil
}

func keepAnnotations(annotations map[string]string) map[string]string {
	var kept map[string]string
	for _, name := range readAnnotations {
		value, ok := annotations[name]
		if !ok {
			continue
		}
		if len(value) > maxKeptBytes {
			value = strings.Clone(value[:maxKeptBytes])
		}
		if kept == nil {
			kept = make(map[string]string, len(readAnnotations))
		}
		kept[name] = value
	}
	return kept
}
