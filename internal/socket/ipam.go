package socket

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/ipam"
)

// maxRelease is more than a request to release has, in bytes.
const maxRelease = 4096

// IPAM is what a node hands out.
type IPAM struct {
	Node string     `json:"node"`
	Uses []ipam.Use `json:"uses"`
}

// Release is a request to end the lease that has an address; with Force also where its pod lives.
type Release struct {
	Address netip.Addr `json:"address"`
	Force   bool       `json:"force,omitempty"`
}

// Released says whose the address was.
type Released struct {
	From string `json:"from"`
}

// IPAM asks how the node's addresses are used.
func (c *Client) IPAM(ctx context.Context) (IPAM, error) { return ask[IPAM](ctx, c, "addresses") }

// CheckIPAM asks what is wrong with the node's addresses.
func (c *Client) CheckIPAM(ctx context.Context) ([]survey.Finding, error) {
	return ask[[]survey.Finding](ctx, c, "findings")
}

// Release asks for a lease's end.
func (c *Client) Release(ctx context.Context, r Release) (Released, error) {
	return tell[Released](ctx, c, "release", r)
}

func serveIPAM(mux *http.ServeMux, backend Backend) {
	mux.HandleFunc("GET /v1/addresses", func(w http.ResponseWriter, _ *http.Request) { answer(w, backend.IPAM) })
	mux.HandleFunc("GET /v1/findings", func(w http.ResponseWriter, _ *http.Request) { answer(w, backend.CheckIPAM) })
	mux.HandleFunc("POST /v1/release", func(w http.ResponseWriter, r *http.Request) {
		var asked Release
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRelease)).Decode(&asked)
		if err == nil && !asked.Address.IsValid() {
			err = fmt.Errorf("address %s: want an IPv4 or IPv6 address", asked.Address)
		}
		if err != nil {
			http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, func() (Released, error) { return backend.Release(asked) })
	})
}
