package socket

import (
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
	var value T
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/"+what, http.NoBody)
	if err != nil {
		return value, fmt.Errorf("asking the agent for its %s: %w", what, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return value, fmt.Errorf("asking the agent at %s (is warrend running on this node, and are you root?): %w", c.path, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return value, fmt.Errorf("the agent could not tell its %s: %s", what, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(response.Body).Decode(&value); err != nil {
		return value, fmt.Errorf("reading the agent's %s: %w", what, err)
	}
	return value, nil
}
