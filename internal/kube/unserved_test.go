package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// oldAPIServer knows Nodes and NodeKeys, of which it has none, and no ServiceCIDRs.
func oldAPIServer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason string) {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
	}
	switch query := r.URL.Query(); {
	case r.URL.Path != "/api/v1/nodes" && r.URL.Path != "/apis/warren.dev/v1alpha1/nodekeys":
		status(http.StatusNotFound, "NotFound")
	case query.Has("sendInitialEvents"):
		status(http.StatusUnprocessableEntity, "Invalid")
	case query.Has("watch"):
		<-r.Context().Done()
	case strings.HasSuffix(r.URL.Path, "nodekeys"):
		_, _ = fmt.Fprint(w, `{"kind":"NodeKeyList","apiVersion":"warren.dev/v1alpha1","metadata":{"resourceVersion":"1"},"items":[]}`)
	default:
		_, _ = fmt.Fprint(w, `{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
	}
}

func TestServiceCIDRsThatAreNotServed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(oldAPIServer))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel() // before Close, which waits for the watches

	for _, asked := range []bool{false, true} {
		client, err := newClient(&rest.Config{Host: server.URL}, Options{NodeName: "n1", WatchServiceCIDRs: asked})
		if err != nil {
			t.Fatal(err)
		}
		synced := make(chan struct{}, 10)
		w := client.Watch(ctx, func() { synced <- struct{}{} })
		t.Cleanup(w.Wait)
		err = w.WaitForSync(ctx)
		if asked {
			if !errors.Is(err, ErrNoServiceCIDRs) || !strings.Contains(err.Error(), "--service-cidr") {
				t.Errorf("got %v, want a hint at --service-cidr", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-synced:
		case <-ctx.Done():
			t.Error("an empty cluster synced, and nobody was told")
		}
	}
}

// TestNodeKeysThatAreNotServed: the CustomResourceDefinition is not installed.
func TestNodeKeysThatAreNotServed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "nodekeys") {
			http.NotFound(w, r)
			return
		}
		oldAPIServer(w, r)
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel() // before Close, which waits for the watches
	client, err := newClient(&rest.Config{Host: server.URL}, Options{NodeName: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	w := client.Watch(ctx, func() {})
	t.Cleanup(w.Wait)
	if err := w.WaitForSync(ctx); !errors.Is(err, ErrNoNodeKeys) {
		t.Errorf("got %v, want a hint at the CustomResourceDefinition", err)
	}
}

func TestWaitForSyncSaysWhatIsInTheWay(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(oldAPIServer))
	server.Close()
	client, err := newClient(&rest.Config{Host: server.URL}, Options{NodeName: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	w := client.Watch(t.Context(), func() {})
	t.Cleanup(w.Wait)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = w.WaitForSync(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") || w.Synced() {
		t.Errorf("got %v, synced %v", err, w.Synced())
	}
}
