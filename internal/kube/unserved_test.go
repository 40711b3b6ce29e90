package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// oldAPIServer knows Nodes and NodeKeys, of which it has none, and no ServiceCIDRs.
var oldAPIServer = apiServer(map[string]string{"/api/v1/nodes": "Node", "/apis/warren.dev/v1alpha1/nodekeys": "NodeKey"})

// apiServer knows these kinds, by their paths, and has nothing of them.
func apiServer(kinds map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		status := func(code int, reason string) {
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
		}
		kind, known := kinds[r.URL.Path]
		switch query := r.URL.Query(); {
		case !known:
			status(http.StatusNotFound, "NotFound")
		case query.Has("sendInitialEvents"):
			status(http.StatusUnprocessableEntity, "Invalid")
		case query.Has("watch"):
			<-r.Context().Done()
		default:
			version, _ := strings.CutPrefix(path.Dir(r.URL.Path), "/apis/")
			_, _ = fmt.Fprintf(w, `{"kind":"%sList","apiVersion":%q,"metadata":{"resourceVersion":"1"},"items":[]}`, kind, strings.TrimPrefix(version, "/api/"))
		}
	}
}

func TestServiceCIDRsThatAreNotServed(t *testing.T) {
	server := httptest.NewServer(oldAPIServer)
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

// TestTypesThatAreNotServed: a CustomResourceDefinition is not installed.
func TestTypesThatAreNotServed(t *testing.T) {
	for missing, want := range map[string]error{"nodekeys": ErrNoNodeKeys, "ippools": ErrNoPools, "ipblocks": ErrNoPools, "ipreservations": ErrNoPools} {
		t.Run(missing, func(t *testing.T) {
			kinds := map[string]string{"/api/v1/nodes": "Node"}
			for resource, kind := range map[string]string{
				"nodekeys": "NodeKey", "ippools": "IPPool", "ipblocks": "IPBlock", "ipreservations": "IPReservation",
			} {
				if resource != missing {
					kinds["/apis/warren.dev/v1alpha1/"+resource] = kind
				}
			}
			server := httptest.NewServer(apiServer(kinds))
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel() // before Close, which waits for the watches
			client, err := newClient(&rest.Config{Host: server.URL}, Options{NodeName: "n1", WatchPools: true})
			if err != nil {
				t.Fatal(err)
			}
			w := client.Watch(ctx, func() {})
			t.Cleanup(w.Wait)
			if err := w.WaitForSync(ctx); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

func TestWaitForSyncSaysWhatIsInTheWay(t *testing.T) {
	server := httptest.NewServer(oldAPIServer)
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
