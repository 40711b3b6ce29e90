package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

const (
	// smallPayload is that of a small UDP packet, in bytes.
	smallPayload = 64
	// datagramPort is where the answering ends listen.
	datagramPort = 5202
	// answerPatience is as long as an answering end needs at most to see that it is to stop.
	answerPatience = 100 * time.Millisecond
)

// datagrams makes a UDP socket whose reads block for as long as patience at most. Reads and writes on it are those of the
// thread that makes them, so that no scheduler but the kernel's is measured.
func datagrams(patience time.Duration) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return -1, errors.Join(fmt.Errorf("limiting a socket's patience: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// atClient runs f on a thread of the client's end.
func (p path) atClient(f func() error) error { return onThread(p.client, p.cpus[0], f) }

// atServer runs f on a thread of the server's end.
func (p path) atServer(f func() error) error { return onThread(p.server, p.cpus[1], f) }

func onThread(h *lab.Host, cpus processors, f func() error) error {
	return h.Do(func() error {
		if err := cpus.take(0); err != nil { // the thread ends with f
			return err
		}
		return f()
	})
}

// dial makes a socket for a server of a path.
func dial(to netip.Addr, patience time.Duration) (fd int, err error) {
	if fd, err = datagrams(patience); err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: datagramPort, Addr: to.As4()}); err != nil {
		return -1, errors.Join(fmt.Errorf("connecting: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// none says that nothing came in time.
func none(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) }

// server is the answering end of a measurement, on a thread of its host.
type server struct {
	stop  chan struct{}
	ended chan error
}

// listen starts a server that handles every datagram: it gets the payload and who sent it. It returns when the server can be reached.
func listen(p path, handle func(fd int, payload []byte, from unix.Sockaddr) error) (*server, error) {
	s := &server{stop: make(chan struct{}), ended: make(chan error, 1)}
	ready := make(chan struct{})
	go func() { s.ended <- p.atServer(func() error { return s.serve(ready, handle) }) }()
	select {
	case <-ready:
		return s, nil
	case err := <-s.ended:
		return nil, err
	}
}

func (s *server) serve(ready chan<- struct{}, handle func(int, []byte, unix.Sockaddr) error) error {
	fd, err := datagrams(answerPatience)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: datagramPort}); err != nil {
		return fmt.Errorf("binding: %w", err)
	}
	close(ready)
	buffer := make([]byte, smallPayload)
	for {
		select {
		case <-s.stop:
			return nil
		default:
		}
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if none(err) {
			continue
		}
		if err == nil {
			err = handle(fd, buffer[:n], from)
		}
		if err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

// Close ends the server, and says how it went.
func (s *server) Close() error {
	close(s.stop)
	return <-s.ended
}
