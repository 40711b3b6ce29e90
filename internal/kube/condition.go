package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
)

const (
	networkReason  = "WarrenIsUp"
	networkMessage = "Warren has programmed the mesh on this node"
)

// SetNetworkAvailable sets the own Node's condition NetworkUnavailable to False, by which its taint of that name goes away
// and pods come. A Node that says so already is left alone.
func (c *Client) SetNetworkAvailable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	node, err := c.writes.CoreV1().Nodes().Get(ctx, c.node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Node %s: %w", c.node, nodeError(err))
	}
	now := metav1.Now()
	since := now
	for _, old := range node.Status.Conditions {
		if old.Type != corev1.NodeNetworkUnavailable || old.Status != corev1.ConditionFalse {
			continue
		}
		if old.Reason == networkReason && old.Message == networkMessage {
			return nil
		}
		since = old.LastTransitionTime // the status stays as it is, and so does the time of its last change
	}
	condition := corev1ac.NodeCondition().
		WithType(corev1.NodeNetworkUnavailable).WithStatus(corev1.ConditionFalse).
		WithReason(networkReason).WithMessage(networkMessage).
		WithLastHeartbeatTime(now).WithLastTransitionTime(since)
	applied := corev1ac.Node(c.node).WithUID(node.UID).WithStatus(corev1ac.NodeStatus().WithConditions(condition))
	if _, err := c.writes.CoreV1().Nodes().ApplyStatus(ctx, applied, force()); err != nil {
		return fmt.Errorf("setting condition %s of Node %s: %w", corev1.NodeNetworkUnavailable, c.node, nodeError(err))
	}
	return nil
}
