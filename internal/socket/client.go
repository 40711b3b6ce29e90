package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/warren-mesh/warren/mesh"
)

// Client asks an agent on this node.
type Client struct {
	path string
	http http.Client
}

// NewClient makes a client of the socket at path. Nothing is opened yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}}
}

// Status asks how the agent is.
func (c *Client) Status(ctx context.Context) (Status, error) { return ask[Status](ctx, c, "status") }

// Peers asks for the peers as WireGuard has them now.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) { return ask[[]Peer](ctx, c, "peers") }

// Plan asks for the last plan.
func (c *Client) Plan(ctx context.Context) (mesh.Plan, error) { return ask[mesh.Plan](ctx, c, "plan") }

func ask[T any](ctx context.Context, c *Client, what string) (T, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/"+what, http.NoBody)
	if err != nil {
		return *new(T), fmt.Errorf("asking the agent for its %s: %w", what, err)
	}
	return exchange[T](c, request, "tell its "+what)
}

// tell has the agent do something.
func tell[T any](ctx context.Context, c *Client, what string, with any) (T, error) {
	body, err := json.Marshal(with)
	if err != nil {
		return *new(T), fmt.Errorf("encoding the request to %s: %w", what, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent/v1/"+what, bytes.NewReader(body))
	if err != nil {
		return *new(T), fmt.Errorf("asking the agent to %s: %w", what, err)
	}
	return exchange[T](c, request, what)
}

func exchange[T any](c *Client, request *http.Request, what string) (value T, err error) {
	response, err := c.http.Do(request)
	if err != nil {
		return value, fmt.Errorf("asking the agent at %s (is warrend running on this node, and are you root?): %w", c.path, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return value, fmt.Errorf("the agent could not %s: %s", what, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(response.Body).Decode(&value); err != nil {
		return value, fmt.Errorf("reading the agent's answer, which was to %s: %w", what, err)
	}
	return value, nil
}
