package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/warren-mesh/warren/mesh"
)

// PublishClaim puts the claim's annotations onto the own Node, with the label by which the others are told of it, and takes away those
// that we put there before and do not any more. Nobody else's are touched. It fails with ErrNodeGone unless the Node has that UID: a
// claim goes onto the Node that owns the key's NodeKey and onto no other.
func (c *Client) PublishClaim(ctx context.Context, nodeUID string, claim mesh.Claim) error {
	if !claim.Published() {
		return errors.New("publishing the claim: it has no public key")
	}
	node := corev1ac.Node(c.node).WithUID(types.UID(nodeUID)).WithAnnotations(claim.Annotations()).
		WithLabels(map[string]string{mesh.LabelChanged: ""})
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := c.writes.CoreV1().Nodes().Apply(ctx, node, force()); err != nil {
		return fmt.Errorf("publishing the claim on Node %s: %w", c.node, nodeError(err))
	}
	return nil
}

// Unlabel takes mesh.LabelChanged away from the own Node, whoever put it there: to apply without it would leave what somebody else set.
// It fails with ErrNodeGone unless the Node has that UID.
func (c *Client) Unlabel(ctx context.Context, nodeUID string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"labels":{%q:null}}}`, nodeUID, mesh.LabelChanged)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := c.writes.CoreV1().Nodes().Patch(ctx, c.node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("taking the label %s from Node %s: %w", mesh.LabelChanged, c.node, nodeError(err))
	}
	return nil
}

// force takes fields over from other managers: what we publish is ours.
func force() metav1.ApplyOptions {
	return metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
}

// nodeError marks as ErrNodeGone what the API server answers to an apply with the UID of a Node that is not there, or whose
// UID is another. With force nothing else can conflict.
func nodeError(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) && aboutUID(err) {
		return fmt.Errorf("%w: %w", ErrNodeGone, err)
	}
	return err
}

// aboutUID says whether the API server refused an object for its UID.
func aboutUID(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}
