package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversionscheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// newRowClient makes a client for Nodes as `kubectl get nodes` sees them.
func newRowClient(config *rest.Config) (rest.Interface, error) {
	c := rest.CopyConfig(config)
	c.GroupVersion, c.APIPath = &corev1.SchemeGroupVersion, "/api"
	c.NegotiatedSerializer = metainternalversionscheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("making a client for Nodes as rows: %w", err)
	}
	return client, nil
}

// watchRows watches all Nodes as rows of a table, without the Nodes: a few hundred bytes each time, whatever a Node holds. There is no
// protobuf for tables.
func (c *Client) watchRows(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	o.Watch = true
	return c.rows.Get().Resource(nodesResource.Resource).
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").
		VersionedParams(&o, metav1.ParameterCodec).Param("includeObject", string(metav1.IncludeNone)).
		Watch(ctx)
}

// rowReader reads the rows of one watch.
type rowReader struct {
	// columns are the names of the table's. Only its first event has them.
	columns []string
}

// read makes a row's event one of a seenNode, or of an error.
func (r *rowReader) read(e apiwatch.Event) apiwatch.Event {
	if e.Type == apiwatch.Error {
		return e
	}
	table, ok := e.Object.(*metav1.Table)
	if !ok {
		return unreadable(fmt.Errorf("reading Nodes as rows: the API server sent a %T", e.Object))
	}
	if len(table.ColumnDefinitions) > 0 {
		r.columns = nil
		for _, column := range table.ColumnDefinitions {
			r.columns = append(r.columns, column.Name)
		}
	}
	row := &seenNode{ObjectMeta: metav1.ObjectMeta{ResourceVersion: table.ResourceVersion}}
	if e.Type != apiwatch.Bookmark { // which is of no Node
		if row.Name = r.name(table); row.Name == "" {
			return unreadable(fmt.Errorf("reading Nodes as rows: there is no name in a row of %q", r.columns))
		}
	}
	e.Object = row
	return e
}

// name is that of the Node whose row it is; empty where it cannot be told.
func (r *rowReader) name(table *metav1.Table) string {
	at := slices.Index(r.columns, "Name")
	if at < 0 || len(table.Rows) != 1 || at >= len(table.Rows[0].Cells) {
		return ""
	}
	name, _ := table.Rows[0].Cells[at].(string)
	return name
}

// unreadable is the event that ends a watch which cannot be read.
func unreadable(err error) apiwatch.Event {
	status := apierrors.NewInternalError(err).Status()
	return apiwatch.Event{Type: apiwatch.Error, Object: &status}
}
