package kube

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// rowLines are what an API server sends, without the descriptions of the columns.
const rowLines = `{"type":"ADDED","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"11"},` +
	`"columnDefinitions":[{"name":"Name","type":"string","format":"name"},{"name":"Status","type":"string"}],` +
	`"rows":[{"cells":["n2","NotReady"],"object":null}]}}
{"type":"MODIFIED","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"12"},` +
	`"columnDefinitions":null,"rows":[{"cells":["n2","Ready"],"object":null}]}}
{"type":"BOOKMARK","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"13"},` +
	`"columnDefinitions":null,"rows":[{"cells":["","Unknown"],"object":null}]}}
{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}}
`

// TestRowsAreAskedForAndRead without the objects, from the resource version that was given.
func TestRowsAreAskedForAndRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		asked := fmt.Sprintf("%s %s %s %s", r.URL.Path, query.Get("watch"), query.Get("includeObject"), query.Get("resourceVersion"))
		if accept := r.Header.Get("Accept"); asked != "/api/v1/nodes true None 10" || accept != "application/json;as=Table;g=meta.k8s.io;v=v1" {
			t.Errorf("asked for %s as %s", asked, accept)
		}
		w.Header().Set("Content-Type", "application/json;as=Table;g=meta.k8s.io;v=v1")
		_, _ = fmt.Fprint(w, rowLines)
	}))
	defer server.Close()
	client, err := newClient(&rest.Config{Host: server.URL}, Options{NodeName: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	body, err := client.watchRows(t.Context(), metav1.ListOptions{ResourceVersion: "10"})
	if err != nil {
		t.Fatal(err)
	}
	rows := newRowWatch(body, func(apiwatch.EventType, string) bool { return true })
	defer rows.Stop()
	var got []string
	for e := range rows.ResultChan() {
		if row, ok := e.Object.(*seenNode); ok {
			got = append(got, fmt.Sprintf("%s %q %s", e.Type, row.Name, row.ResourceVersion))
		} else if !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
			t.Errorf("an expired version is told as %+v", e)
		}
	}
	if diff := cmp.Diff([]string{`ADDED "n2" 11`, `MODIFIED "n2" 12`}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if at := rows.passed(); at != "13" {
		t.Errorf("the bookmark leads to %q", at)
	}
}

// FuzzRows: whatever comes in place of rows, it is read to its end or refused.
func FuzzRows(f *testing.F) {
	f.Add(rowLines)
	f.Add(`{"type":"ADDED","object":{"rows":[{"cells":[null]}],"columnDefinitions":[{"name":"Name"}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d := newRowDecoder(io.NopCloser(strings.NewReader(text)), func(event apiwatch.EventType, _ string) bool { return event != apiwatch.Modified })
		for range strings.Count(text, "{") + 1 {
			event, object, err := d.Decode()
			if err != nil {
				return
			}
			if row, ok := object.(*seenNode); ok != (event != apiwatch.Error) || ok && row.Name == "" {
				t.Fatalf("%s of %#v", event, object)
			}
		}
		t.Fatal("there are more events than there can be")
	})
}
