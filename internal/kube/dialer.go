package kube

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// dialer makes connections and knows those that are open.
type dialer struct {
	dial utilnet.DialFunc

	mu   sync.Mutex // guards open
	open map[*conn]struct{}
}

// conn is one that the dialer knows until it is closed.
type conn struct {
	net.Conn
	dialer *dialer
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

func newDialer(dial utilnet.DialFunc) *dialer { return &dialer{dial: dial, open: map[*conn]struct{}{}} }

func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	inner, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{inner, d}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[c] = struct{}{}
	return c, nil
}

// closeFrom closes the connections that have one of those addresses at this end.
func (d *dialer) closeFrom(gone []netip.Addr) {
	d.mu.Lock()
	var closing []*conn
	for c := range d.open {
		if local, ok := c.LocalAddr().(*net.TCPAddr); ok && slices.Contains(gone, local.AddrPort().Addr().Unmap()) {
			closing = append(closing, c)
		}
	}
	d.mu.Unlock()
	for _, c := range closing {
		_ = c.Close()
	}
}
