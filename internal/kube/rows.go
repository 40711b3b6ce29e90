package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversionscheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// newRowClient makes a client for Nodes as `kubectl get nodes` sees them. Its one lasting request is a heartbeat now and then, for which
// HTTP/1.1 has no frames, no windows and no other goroutine than the one that reads it.
func newRowClient(config *rest.Config) (rest.Interface, error) {
	c := rest.CopyConfig(config)
	c.NextProtos = []string{"http/1.1"}
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
func (c *Client) watchRows(ctx context.Context, o metav1.ListOptions) (io.ReadCloser, error) {
	o.Watch = true
	return c.rows.Get().Resource(nodesResource.Resource).
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").
		VersionedParams(&o, metav1.ParameterCodec).Param("includeObject", string(metav1.IncludeNone)).
		Stream(ctx)
}

// rowWatch is a watch of Nodes as rows. It tells of those that are of interest; what it passes over, which nearly all are that come, costs
// one look at a short text in the goroutine that reads it.
type rowWatch struct {
	apiwatch.Interface
	decoder *rowDecoder
}

func newRowWatch(body io.ReadCloser, tells func(apiwatch.EventType, string) bool) *rowWatch {
	d := newRowDecoder(body, tells)
	reporter := apierrors.NewClientErrorReporter(http.StatusInternalServerError, http.MethodGet, "ClientWatchDecoding")
	return &rowWatch{apiwatch.NewStreamWatcher(d, reporter), d}
}

// passed is the resource version of the last row that was passed over since the last event; empty where none was.
func (w *rowWatch) passed() string {
	if at := w.decoder.passed.Load(); at != nil {
		return *at
	}
	return ""
}

// rowDecoder reads events of rows off a stream. It implements apiwatch.Decoder.
type rowDecoder struct {
	body io.ReadCloser
	json *json.Decoder
	// columns are the names of the table's. Only its first event has them.
	columns []string
	tells   func(event apiwatch.EventType, node string) bool
	passed  atomic.Pointer[string]
}

func newRowDecoder(body io.ReadCloser, tells func(apiwatch.EventType, string) bool) *rowDecoder {
	return &rowDecoder{body: body, json: json.NewDecoder(body), tells: tells}
}

// rowEvent is what is read of an event: a table's row, or a Status.
type rowEvent struct {
	Type   apiwatch.EventType
	Object struct {
		metav1.Status     `json:",inline"`
		ColumnDefinitions []struct{ Name string }
		Rows              []struct{ Cells []any }
	}
}

// Close implements apiwatch.Decoder.
func (d *rowDecoder) Close() { _ = d.body.Close() }

// Decode implements apiwatch.Decoder.
func (d *rowDecoder) Decode() (apiwatch.EventType, runtime.Object, error) {
	for {
		var e rowEvent
		if err := d.json.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return "", nil, err
			}
			return "", nil, fmt.Errorf("reading Nodes as rows: %w", err)
		}
		if e.Type == apiwatch.Error {
			return e.Type, &e.Object.Status, nil
		}
		row := &seenNode{ObjectMeta: metav1.ObjectMeta{ResourceVersion: e.Object.ResourceVersion}}
		if e.Type != apiwatch.Bookmark { // which is of no Node
			var err error
			if row.Name, err = d.name(&e); err != nil {
				return "", nil, err
			}
			if d.tells(e.Type, row.Name) {
				d.passed.Store(nil)
				return e.Type, row, nil
			}
		}
		d.passed.Store(&row.ResourceVersion)
	}
}

// name is that of the Node whose row it is.
func (d *rowDecoder) name(e *rowEvent) (string, error) {
	if len(e.Object.ColumnDefinitions) > 0 {
		d.columns = nil
		for _, column := range e.Object.ColumnDefinitions {
			d.columns = append(d.columns, column.Name)
		}
	}
	name := ""
	if at := slices.Index(d.columns, "Name"); at >= 0 && len(e.Object.Rows) == 1 && at < len(e.Object.Rows[0].Cells) {
		name, _ = e.Object.Rows[0].Cells[at].(string)
	}
	if name == "" {
		return "", fmt.Errorf("reading Nodes as rows: there is no name in a row of %q", d.columns)
	}
	return name, nil
}
