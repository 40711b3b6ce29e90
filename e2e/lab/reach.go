package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// reachPatience is how long Reach tries where the context ends no earlier.
const reachPatience = 5 * time.Second

// Reach sends size random bytes to the echo service of another host and compares what comes back. proto is "tcp", "udp" or
// "sctp", of which [SCTPSockets] says more. A datagram is sent again every second: to be lost is no error as such, to be lost each time is.
func (h *Host) Reach(ctx context.Context, to netip.Addr, proto string, size int) error {
	return h.ReachPort(ctx, netip.AddrPortFrom(to, EchoPort), proto, size)
}

// ReachPort is Reach for an echo service that is behind another address and port, as a Service is.
func (h *Host) ReachPort(ctx context.Context, to netip.AddrPort, proto string, size int) error {
	return h.ReachFrom(ctx, netip.Addr{}, to, proto, size)
}

// ReachFrom is ReachPort by one of the host's addresses.
func (h *Host) ReachFrom(ctx context.Context, from netip.Addr, to netip.AddrPort, proto string, size int) error {
	return h.reach(ctx, attempt{from, to, proto, time.Second}, size)
}

// ReachOnce is Reach by one datagram that is not sent again: to be lost is an error.
func (h *Host) ReachOnce(ctx context.Context, to netip.Addr, size int) error {
	return h.reach(ctx, attempt{to: netip.AddrPortFrom(to, EchoPort), proto: "udp", again: 2 * pace.Scale(reachPatience)}, size)
}

// attempt is one to reach an echo service. A datagram is sent again as often as it was not answered for so long.
type attempt struct {
	// from is invalid where the kernel is to choose.
	from  netip.Addr
	to    netip.AddrPort
	proto string
	again time.Duration
}

func (h *Host) reach(ctx context.Context, a attempt, size int) error {
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(reachPatience))
	defer cancel()
	if err := h.exchange(ctx, a, size); err != nil {
		return fmt.Errorf("%s: reaching %s with %d bytes of %s: %w", h.Name, a.to, size, a.proto, err)
	}
	return nil
}

func (h *Host) exchange(ctx context.Context, a attempt, size int) error {
	sent := make([]byte, size)
	if _, err := rand.Read(sent); err != nil {
		return err
	}
	if a.proto == "sctp" {
		return h.exchangeSCTP(ctx, a.from, a.to, sent)
	}
	conn, err := h.dialFrom(ctx, a.from, a.to, a.proto)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if a.proto == "udp" {
		return exchangeDatagram(ctx, conn, sent, a.again)
	}
	return exchangeBytes(conn, sent)
}

// dialFrom is Dial by an address, or, where that is invalid, by the one that the kernel takes.
func (h *Host) dialFrom(ctx context.Context, from netip.Addr, to netip.AddrPort, proto string) (conn net.Conn, err error) {
	dialer := net.Dialer{FallbackDelay: -1} // all on this thread
	switch source := netip.AddrPortFrom(from, 0); {
	case !from.IsValid():
	case proto == "udp":
		dialer.LocalAddr = net.UDPAddrFromAddrPort(source)
	default:
		dialer.LocalAddr = net.TCPAddrFromAddrPort(source)
	}
	err = h.Do(func() error {
		conn, err = dialer.DialContext(ctx, proto, to.String())
		return err
	})
	return conn, err
}

// exchangeBytes writes and reads at the same time: what does not fit into the buffers would stop both ends else.
func exchangeBytes(conn net.Conn, sent []byte) error {
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		written <- err
	}()
	got := make([]byte, len(sent))
	n, err := io.ReadFull(conn, got)
	if err != nil {
		_ = conn.Close() // ends the writer
		return errors.Join(fmt.Errorf("%d of %d bytes came back: %w", n, len(sent), err), <-written)
	}
	return errors.Join(<-written, same(sent, got))
}

func exchangeDatagram(ctx context.Context, conn net.Conn, sent []byte, again time.Duration) error {
	got := make([]byte, maxDatagram+1)
	for {
		if _, err := conn.Write(sent); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(again)); err != nil {
			return err
		}
		if ctx.Err() != nil { // it may have ended before the deadline was set
			return context.Cause(ctx)
		}
		n, err := conn.Read(got)
		if err == nil {
			return same(sent, got[:n])
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no answer: %w", context.Cause(ctx))
		}
	}
}

func same(sent, got []byte) error {
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("%d bytes came back that are not the %d sent", len(got), len(sent))
	}
	return nil
}

// sequence is a numbered datagram's number.
type sequence = uint64

const sequenceSize = 8

func putSequence(p []byte, n sequence) { binary.BigEndian.PutUint64(p, n) }
func getSequence(p []byte) sequence    { return binary.BigEndian.Uint64(p) }
