package kube

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestDialer: connections end whose address is gone, and no others.
func TestDialer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	d := newDialer((&net.Dialer{}).DialContext)
	dial := func(from string) net.Conn {
		d.dial = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext
		c, err := d.DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	stays, leaves, closed := dial("127.0.0.2"), dial("127.0.0.3"), dial("127.0.0.3")
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	d.closeFrom([]netip.Addr{netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("2001:db8::1")})
	if err := stays.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Errorf("a connection from an address that is still there was closed: %v", err)
	}
	if err := leaves.SetDeadline(time.Now().Add(time.Minute)); err == nil {
		t.Error("a connection from an address that is gone is still open")
	}
	if len(d.open) != 1 {
		t.Errorf("%d connections are remembered, want the one that is open", len(d.open))
	}
}
