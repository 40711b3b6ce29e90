package e2e

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// tally counts datagrams.
type tally struct{ arrived *atomic.Int64 }

func newTally() tally { return tally{new(atomic.Int64)} }

func (c tally) count() int { return int(c.arrived.Load()) }

// listen counts what comes to a host's port until ctx ends. The host needs no network yet.
func (c tally) listen(ctx context.Context, t *testing.T, h *lab.Host, port uint16) {
	t.Helper()
	conn, err := h.ListenPacket("udp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 100)
		for {
			if _, _, err := conn.ReadFrom(buffer); errors.Is(err, net.ErrClosed) {
				return
			} else if err == nil {
				c.arrived.Add(1)
			}
		}
	}()
}

// sendAll sends a datagram to each address, again and again until ctx ends. What the host's kernel refuses is lost.
func sendAll(ctx context.Context, h *lab.Host, to []netip.Addr, port uint16) error {
	conn, err := h.ListenPacket("udp", ":0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go func() {
		for ctx.Err() == nil {
			for _, a := range to {
				_, _ = conn.WriteTo([]byte("first"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return nil
}
