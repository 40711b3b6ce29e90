package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/ipam"
)

// ClaimBlock makes the own Node hold a block, as its pool, CIDR, NodeUID and MeshAddress say. One that it holds already gets the Node with
// that UID for its owner; one that it held and that is being deleted, with its Node or by somebody's mistake, is let go and claimed anew.
// ErrBlockTaken: it is another Node's.
func (c *Client) ClaimBlock(ctx context.Context, block ipam.Block) error {
	want := &v1alpha1.IPBlock{
		ObjectMeta: metav1.ObjectMeta{
			Name: v1alpha1.IPBlockName(block.CIDR), Finalizers: []string{v1alpha1.FinalizerBlock},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: c.node, UID: types.UID(block.NodeUID)}},
		},
		Spec: v1alpha1.IPBlockSpec{CIDR: block.CIDR.String(), Pool: block.Pool, NodeName: c.node, MeshAddress: block.MeshAddress},
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := retry.OnError(retry.DefaultRetry, overtaken, func() error { return c.claimBlock(ctx, want) }); err != nil {
		return fmt.Errorf("claiming the block %s of pool %s: %w", block.CIDR, block.Pool, err)
	}
	return nil
}

// overtaken says that somebody else did something to a block between two requests.
func overtaken(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

func (c *Client) claimBlock(ctx context.Context, want *v1alpha1.IPBlock) error {
	err := c.createBlock(ctx, want)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	have, err := c.block(ctx, want.Name)
	switch {
	case err != nil:
		return err
	case have.Spec.NodeName != c.node && have.DeletionTimestamp != nil:
		return fmt.Errorf("%w: Node %q held it until %s", ErrBlockTaken, have.Spec.NodeName, have.DeletionTimestamp.UTC().Format(time.RFC3339))
	case have.Spec.NodeName != c.node:
		return fmt.Errorf("%w: Node %q holds it", ErrBlockTaken, have.Spec.NodeName)
	case have.DeletionTimestamp != nil:
		return c.reclaimBlock(ctx, have, want)
	case have.Spec != want.Spec:
		return fmt.Errorf("%w: this Node holds it otherwise, of pool %q", ErrBlockTaken, have.Spec.Pool)
	case slices.Equal(have.OwnerReferences, want.OwnerReferences):
		return nil
	}
	have.OwnerReferences = want.OwnerReferences
	return c.putBlock(ctx, have)
}

// reclaimBlock lets a block go and claims it anew. Somebody may be faster.
func (c *Client) reclaimBlock(ctx context.Context, have, want *v1alpha1.IPBlock) error {
	if err := c.finish(ctx, have); err != nil {
		return err
	}
	err := c.createBlock(ctx, want)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("%w: it was let go, and claimed by somebody else: %w", ErrBlockTaken, err)
	}
	return err
}

// ReturnBlock gives a block of the own Node back, so that it can be claimed at once. One that is not the own Node's stays.
func (c *Client) ReturnBlock(ctx context.Context, cidr netip.Prefix) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := retry.OnError(retry.DefaultRetry, apierrors.IsConflict, func() error { return c.returnBlock(ctx, v1alpha1.IPBlockName(cidr)) })
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("returning the block %s: %w", cidr, err)
	}
	return nil
}

func (c *Client) returnBlock(ctx context.Context, name string) error {
	have, err := c.block(ctx, name)
	switch {
	case err != nil:
		return err
	case have.Spec.NodeName != c.node:
		return fmt.Errorf("%w: Node %q holds it", ErrBlockTaken, have.Spec.NodeName)
	case have.DeletionTimestamp == nil:
		same := metav1.NewUIDPreconditions(string(have.UID))
		same.ResourceVersion = &have.ResourceVersion
		// What a deletion answers is the block where its finalizer keeps it, and else a status.
		if err := c.ours.Delete().Resource(v1alpha1.ResourceIPBlocks).Name(name).Body(&metav1.DeleteOptions{Preconditions: same}).Do(ctx).Error(); err != nil {
			return err
		}
		if have, err = c.block(ctx, name); err != nil {
			return err
		}
	}
	return c.finish(ctx, have)
}

// LetGoBlock lets a block that is being deleted go, whosever it was, so that it can be claimed. It has to be the one that was freed then: one
// that was claimed meanwhile stays.
func (c *Client) LetGoBlock(ctx context.Context, cidr netip.Prefix, freed time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	have, err := c.block(ctx, v1alpha1.IPBlockName(cidr))
	if err == nil && freedAt(&have.ObjectMeta).Equal(freed) && !freed.IsZero() {
		err = c.finish(ctx, have)
	}
	if err != nil && !overtaken(err) { // several nodes may be at it
		return fmt.Errorf("letting go the block %s: %w", cidr, err)
	}
	return nil
}

// finish takes the finalizer from a block that is being deleted, if it is still as it was read.
func (c *Client) finish(ctx context.Context, block *v1alpha1.IPBlock) error {
	if block.DeletionTimestamp == nil {
		return fmt.Errorf("IPBlock %s is not being deleted", block.Name)
	}
	block.Finalizers = slices.DeleteFunc(block.Finalizers, func(f string) bool { return f == v1alpha1.FinalizerBlock })
	return c.putBlock(ctx, block)
}

// UpdatePoolStatus writes how much of a pool is claimed.
func (c *Client) UpdatePoolStatus(ctx context.Context, pool string, status v1alpha1.IPPoolStatus) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		err = c.ours.Patch(types.MergePatchType).Resource(v1alpha1.ResourceIPPools).Name(pool).SubResource("status").Body(patch).Do(ctx).Error()
	}
	if err != nil {
		return fmt.Errorf("counting the blocks of pool %s: %w", pool, err)
	}
	return nil
}

func (c *Client) createBlock(ctx context.Context, block *v1alpha1.IPBlock) error {
	return c.ours.Post().Resource(v1alpha1.ResourceIPBlocks).Body(block).Do(ctx).Error()
}

func (c *Client) putBlock(ctx context.Context, block *v1alpha1.IPBlock) error {
	return c.ours.Put().Resource(v1alpha1.ResourceIPBlocks).Name(block.Name).Body(block).Do(ctx).Error()
}

func (c *Client) block(ctx context.Context, name string) (*v1alpha1.IPBlock, error) {
	var block v1alpha1.IPBlock
	return &block, c.ours.Get().Resource(v1alpha1.ResourceIPBlocks).Name(name).Do(ctx).Into(&block)
}
