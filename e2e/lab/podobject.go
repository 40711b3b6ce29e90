package lab

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// PodOptions say what a pod's Pod object is like.
type PodOptions struct {
	// Namespace is there already; default "default".
	Namespace, Name string
	Labels          map[string]string
	Ports           []corev1.ContainerPort
}

// AddPodLike adds a pod with a Pod object, as kubelet does: the object is there first, and has the pod's addresses when its network is made.
func (n *Node) AddPodLike(ctx context.Context, o PodOptions) (*Pod, error) {
	setDefault(&o.Namespace, podNamespace)
	return n.addPod(o.Namespace, o.Name, func(p *Pod) error {
		p.object = true
		if err := p.register(ctx, o); err != nil {
			return err
		}
		if err := n.plugIn(ctx, p); err != nil {
			return err
		}
		return p.report(ctx)
	})
}

// register makes the Pod object.
func (p *Pod) register(ctx context.Context, o PodOptions) error {
	pods := p.Node.lab.Cluster().Admin().CoreV1().Pods(o.Namespace)
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: o.Name, Labels: o.Labels},
		Spec:       corev1.PodSpec{NodeName: p.Node.Name, Containers: []corev1.Container{{Name: "one", Image: "none", Ports: o.Ports}}},
	}
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		_, last = pods.Create(ctx, object, metav1.CreateOptions{})
		if apierrors.IsForbidden(last) { // the namespace's ServiceAccount may not be there yet
			return false, nil
		}
		return true, last
	})
	if err != nil {
		return fmt.Errorf("making Pod %s/%s: %w: %w", o.Namespace, o.Name, err, last)
	}
	return nil
}

// report puts the pod's addresses into its status.
func (p *Pod) report(ctx context.Context) error {
	pods := p.Node.lab.Cluster().Admin().CoreV1().Pods(p.Namespace)
	object, err := pods.Get(ctx, p.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	object.Status.Phase, object.Status.PodIP, object.Status.PodIPs = corev1.PodRunning, p.Addresses[0].String(), nil
	for _, a := range p.Addresses {
		object.Status.PodIPs = append(object.Status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	if _, err := pods.UpdateStatus(ctx, object, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("reporting the addresses of Pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return nil
}

// unregister deletes the Pod object, as kubelet does when the pod's network is gone.
func (p *Pod) unregister(ctx context.Context) error {
	err := p.Node.lab.Cluster().Admin().CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return nil
}
