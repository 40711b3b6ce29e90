package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// EchoPort is where every node and pod sends back what it is sent, over TCP and UDP (RFC 862), and over SCTP.
const EchoPort = 7

// maxDatagram is the largest UDP payload there is, in bytes.
const maxDatagram = 65507

// echo is a host's echo service. Its sockets are in the host, its goroutines here.
type echo struct {
	mu    sync.Mutex
	all   []io.Closer // listeners and connections
	ended bool
}

func (h *Host) serveEcho() (*echo, error) {
	e := &echo{}
	if err := e.serve(h, EchoPort); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// EchoAlso has the host answer on another port, too.
func (h *Host) EchoAlso(port uint16) error { return h.echo.serve(h, port) }

func (e *echo) serve(h *Host, port uint16) error {
	err := e.serveStreams(h, port)
	if err == nil {
		err = e.serveDatagrams(h, port)
	}
	if err == nil {
		err = e.serveSCTP(h, port)
	}
	if err != nil {
		return fmt.Errorf("serving echo: %w", err)
	}
	return nil
}

func (e *echo) serveStreams(h *Host, port uint16) error {
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := h.Listen(network, fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		e.keep(l)
		go e.accept(l)
	}
	return nil
}

func (e *echo) serveDatagrams(h *Host, port uint16) error {
	for _, network := range []string{"udp4", "udp6"} {
		c, err := h.ListenPacket(network, fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		e.keep(c)
		if err := errors.Join(enlarge(c), answer(network, c, func(sent []byte) []byte { return sent })); err != nil {
			return err
		}
	}
	return nil
}

func (e *echo) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		e.keep(conn)
		go func() {
			_, _ = io.Copy(conn, conn) // who called sees what is missing
			e.drop(conn)
		}()
	}
}

// answer sends replies, where there are any, from the address that was sent to: a node has several.
func answer(network string, c net.PacketConn, reply func([]byte) []byte) error {
	if strings.HasPrefix(network, "udp4") || strings.HasPrefix(network, "ip4") {
		p := ipv4.NewPacketConn(c)
		if err := p.SetControlMessage(ipv4.FlagDst, true); err != nil {
			return err
		}
		go func() {
			buffer := make([]byte, maxDatagram)
			for {
				n, cm, from, err := p.ReadFrom(buffer)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue
				}
				if answer := reply(buffer[:n]); answer != nil {
					_, _ = p.WriteTo(answer, &ipv4.ControlMessage{Src: cm.Dst}, from) // lost, as datagrams are
				}
			}
		}()
		return nil
	}
	p := ipv6.NewPacketConn(c)
	if err := p.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, maxDatagram)
		for {
			n, cm, from, err := p.ReadFrom(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			if answer := reply(buffer[:n]); answer != nil {
				_, _ = p.WriteTo(answer, &ipv6.ControlMessage{Src: cm.Dst}, from) // lost, as datagrams are
			}
		}
	}()
	return nil
}

// keep takes note of what is to be closed at the end; after the end it closes it.
func (e *echo) keep(c io.Closer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		_ = c.Close()
		return
	}
	e.all = append(e.all, c)
}

func (e *echo) drop(c io.Closer) {
	_ = c.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, other := range e.all {
		if other == c {
			e.all = append(e.all[:i], e.all[i+1:]...)
			return
		}
	}
}

// Close ends the service. A second call does nothing.
func (e *echo) Close() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	for _, c := range e.all {
		_ = c.Close() // one that its other end closed is no error
	}
	e.all = nil
	return nil
}
