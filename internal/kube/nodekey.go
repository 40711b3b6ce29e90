package kube

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
)

// newOurClient makes a client for Warren's own types.
func newOurClient(config *rest.Config, qps float32, burst int) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", v1alpha1.GroupVersion, err)
	}
	c := rest.CopyConfig(config)
	c.GroupVersion = &v1alpha1.GroupVersion
	c.APIPath = "/apis"
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.QPS, c.Burst = qps, burst
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", v1alpha1.GroupVersion, err)
	}
	return client, nil
}

// EnsureNodeKey makes the NodeKey of a key of the own Node, owned by the Node with that UID; where it is there already and
// is ours, it renews the owner. It is to be called before the key is published. ErrKeyTaken: another Node holds the key.
func (c *Client) EnsureNodeKey(ctx context.Context, key identity.PublicKey, nodeUID string) error {
	want := &v1alpha1.NodeKey{
		ObjectMeta: metav1.ObjectMeta{
			Name: v1alpha1.NodeKeyName(key),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Node", Name: c.node, UID: types.UID(nodeUID),
			}},
		},
		Spec: v1alpha1.NodeKeySpec{PublicKey: key.String(), NodeName: c.node},
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// Between two requests the garbage collector may take away the NodeKey of a Node that was deleted.
	lost := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }
	err := retry.OnError(retry.DefaultRetry, lost, func() error { return c.ensureNodeKey(ctx, want) })
	if err != nil {
		return fmt.Errorf("claiming the public key %s: %w", key, err)
	}
	return nil
}

func (c *Client) ensureNodeKey(ctx context.Context, want *v1alpha1.NodeKey) error {
	err := c.ours.Post().Resource(v1alpha1.ResourceNodeKeys).Body(want).Do(ctx).Error()
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err): // there is nothing else that a creation may not find
		return fmt.Errorf("%w (is the CustomResourceDefinition nodekeys.warren.dev installed?)", err)
	case !apierrors.IsAlreadyExists(err):
		return err
	}
	var have v1alpha1.NodeKey
	if err := c.ours.Get().Resource(v1alpha1.ResourceNodeKeys).Name(want.Name).Do(ctx).Into(&have); err != nil {
		return err
	}
	switch {
	case have.Spec.NodeName != want.Spec.NodeName:
		return fmt.Errorf("%w: NodeKey %s is of Node %q", ErrKeyTaken, have.Name, have.Spec.NodeName)
	case have.Spec.PublicKey != want.Spec.PublicKey: // nothing but its maker ties a NodeKey's name to its key
		return fmt.Errorf("%w: NodeKey %s says another key, %q", ErrKeyTaken, have.Name, have.Spec.PublicKey)
	case have.DeletionTimestamp != nil:
		return fmt.Errorf("NodeKey %s is being deleted", have.Name)
	case slices.Equal(have.OwnerReferences, want.OwnerReferences):
		return nil
	}
	have.OwnerReferences = want.OwnerReferences
	return c.ours.Put().Resource(v1alpha1.ResourceNodeKeys).Name(have.Name).Body(&have).Do(ctx).Error()
}
