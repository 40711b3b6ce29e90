package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/ipam"
)

// podTimeout bounds the reading of a pod: a runtime waits for it.
const podTimeout = 2 * time.Second

// mirrorAnnotation is on the Pod that stands for one of kubelet's own, which knows it by another UID.
const mirrorAnnotation = corev1.MirrorPodAnnotationKey

// PodMetadata reads what a pod and its namespace say of its addresses: of both the metadata only. ErrPodGone: there is no such Pod, or it
// is another one of that name by now.
func (c *Client) PodMetadata(ctx context.Context, pod ipam.Pod) (ipam.Metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	namespaces := make(chan *metav1.PartialObjectMetadata, 1)
	failure := make(chan error, 1)
	go func() {
		read, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, pod.Namespace, metav1.GetOptions{})
		namespaces <- read
		failure <- err
	}()
	read, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	namespace, namespaceErr := <-namespaces, <-failure
	switch {
	case apierrors.IsNotFound(err):
		return ipam.Metadata{}, fmt.Errorf("reading pod %s/%s: %w", pod.Namespace, pod.Name, ErrPodGone)
	case err != nil:
		return ipam.Metadata{}, fmt.Errorf("reading pod %s/%s: %w", pod.Namespace, pod.Name, err)
	case namespaceErr != nil:
		return ipam.Metadata{}, fmt.Errorf("reading namespace %s: %w", pod.Namespace, namespaceErr)
	case pod.UID != "" && string(read.UID) != pod.UID && read.Annotations[mirrorAnnotation] == "":
		return ipam.Metadata{}, fmt.Errorf("reading pod %s/%s: %w: its UID is %s, want %s", pod.Namespace, pod.Name, ErrPodGone, read.UID, pod.UID)
	}
	return ipam.Metadata{Pod: read.Annotations, Namespace: namespace.Annotations, Labels: labels.Set(namespace.Labels)}, nil
}
