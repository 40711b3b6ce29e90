package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// echoManifest is a server on every node, and a service in front of them.
//
//go:embed testdata/echo.yaml
var echoManifest []byte

// patience is how long a cluster has for a step, on a machine that is busy.
const patience = 3 * time.Minute

// WaitReady returns when every node is Ready.
func (c *Cluster) WaitReady(ctx context.Context) error {
	return c.until(ctx, func(ctx context.Context) error {
		nodes, err := c.Client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(nodes.Items) < c.options.Nodes {
			return fmt.Errorf("%d of %d nodes have registered", len(nodes.Items), c.options.Nodes)
		}
		var errs []error
		for _, n := range nodes.Items {
			if ready, why := Ready(&n); !ready {
				errs = append(errs, fmt.Errorf("node %s is not Ready: %s", n.Name, why))
			}
		}
		return errors.Join(errs...)
	})
}

// Ready says whether a Node is, and what it says about it.
func Ready(n *corev1.Node) (ready bool, why string) {
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue, condition.Message
		}
	}
	return false, "it has no such condition"
}

// WaitDaemonSet returns when a DaemonSet has a ready pod on every node.
func (c *Cluster) WaitDaemonSet(ctx context.Context, namespace, name string) error {
	return c.until(ctx, func(ctx context.Context) error {
		set, err := c.Client().AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if set.Status.ObservedGeneration == set.Generation && int(set.Status.NumberReady) == c.options.Nodes {
			return nil
		}
		return errors.Join(fmt.Errorf("DaemonSet %s/%s is ready on %d of %d nodes", namespace, name, set.Status.NumberReady, c.options.Nodes),
			c.podsNotReady(ctx, namespace))
	})
}

// podsNotReady names what its pods wait for, as far as they say.
func (c *Cluster) podsNotReady(ctx context.Context, namespace string) error {
	pods, err := c.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range pods.Items {
		for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			if w := s.State.Waiting; w != nil {
				errs = append(errs, fmt.Errorf("pod %s on %s: %s: %s %s", p.Name, p.Spec.NodeName, s.Name, w.Reason, w.Message))
			}
			if t := s.LastTerminationState.Terminated; t != nil {
				errs = append(errs, fmt.Errorf("pod %s on %s: %s ended: %s (exit status %d) %s", p.Name, p.Spec.NodeName, s.Name, t.Reason, t.ExitCode, t.Message))
			}
		}
	}
	return errors.Join(errs...)
}

// until asks until there is no error, or patience is at an end: then it is the last one.
func (c *Cluster) until(ctx context.Context, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, pace.Scale(patience), true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err == nil {
		return nil
	}
	return errors.Join(err, last)
}

// explanation is what nodes' logs and events say about a start that failed.
func (c *Cluster) explanation(ctx context.Context) string {
	if c.Lab == nil || c.Lab.Cluster() == nil {
		return ""
	}
	var text strings.Builder
	for _, n := range c.Lab.Nodes() {
		text.WriteString(tail(c.nodeLog(n.Name)))
		for _, unit := range []string{"containerd", "kubelet", "kube-proxy"} {
			text.WriteString(tail(c.root(n.Name) + node.Log(unit)))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	events, err := c.Client().CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning"})
	if err != nil && !apierrors.IsNotFound(err) {
		return text.String()
	}
	told := map[string]bool{}
	for _, e := range events.Items {
		line := fmt.Sprintf("\nevent: %s %s/%s: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Reason, e.Message)
		if !told[line] {
			told[line] = true
			text.WriteString(line)
		}
	}
	return text.String()
}
