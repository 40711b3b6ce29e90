package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

var podsResource = corev1.SchemeGroupVersion.WithResource("pods")

// annotationConfigHash is where a mirror Pod, which kubelet makes for one that it has from a file, says by which UID kubelet and the
// runtime know that one.
const annotationConfigHash = "kubernetes.io/config.hash"

// PodsHere are the Pods that the API server has on the own node, as far as it tells who they are.
type PodsHere struct {
	uids  map[string]bool
	names map[string]bool
}

// PodsHere reads the metadata of the Pods on the own node, as they are now. It is a request for all of them, and for some kB each: nothing to do
// often.
func (c *Client) PodsHere(ctx context.Context) (PodsHere, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := c.metadata.Resource(podsResource).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", c.node).String(),
	})
	if err != nil {
		return PodsHere{}, fmt.Errorf("reading the Pods on node %s: %w", c.node, err)
	}
	here := PodsHere{uids: map[string]bool{}, names: map[string]bool{}}
	for i := range list.Items {
		pod := &list.Items[i]
		here.uids[string(pod.UID)] = true
		here.uids[pod.Annotations[annotationConfigHash]] = true
		here.names[pod.Namespace+"/"+pod.Name] = true
	}
	return here, nil
}

// Has says whether a pod is among them. A runtime that gives no UID is believed the name.
func (p PodsHere) Has(namespace, name, uid string) bool {
	if uid == "" {
		return p.names[namespace+"/"+name]
	}
	return p.uids[uid]
}
