package kube

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	rows, err := client.watchRows(t.Context(), metav1.ListOptions{ResourceVersion: "10"})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Stop()
	var reader rowReader
	var got []string
	for e := range rows.ResultChan() {
		e = reader.read(e)
		if row, ok := e.Object.(*seenNode); ok {
			got = append(got, fmt.Sprintf("%s %q %s", e.Type, row.Name, row.ResourceVersion))
		} else if !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
			t.Errorf("an expired version is told as %+v", e)
		}
	}
	if diff := cmp.Diff([]string{`ADDED "n2" 11`, `MODIFIED "n2" 12`, `BOOKMARK "" 13`}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
