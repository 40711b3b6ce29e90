package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/warren-mesh/warren/mesh"
)

// watchClaims watches the metadata of those Nodes whose claims changed a while ago at most: those with the label.
func (c *Client) watchClaims(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	o.LabelSelector = mesh.LabelChanged
	return c.metadata.Resource(nodesResource).Watch(ctx, o)
}

// readClaim makes a claim's event one of a seenNode, or of an error.
func readClaim(e apiwatch.Event, as sight) apiwatch.Event {
	if e.Type == apiwatch.Error {
		return e
	}
	partial, ok := e.Object.(*metav1.PartialObjectMetadata)
	if !ok {
		return unreadable(fmt.Errorf("reading claims: the API server sent a %T", e.Object))
	}
	e.Object = as.metadata(&partial.ObjectMeta)
	return e
}

// unreadable is the event that ends a watch which cannot be read.
func unreadable(err error) apiwatch.Event {
	status := apierrors.NewInternalError(err).Status()
	return apiwatch.Event{Type: apiwatch.Error, Object: &status}
}
