package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// streamBuffer is what is written and read at once, and message what one round trip carries, in bytes.
	streamBuffer = 128 << 10
	message      = 64
	// patience is after how long the client gives up an answer, and attempts how often it tries to connect anew.
	patience = 3 * time.Second
	attempts = 2
	backlog  = 128
)

// errEnded says that the other end has closed the connection.
var errEnded = errors.New("the connection has ended")

// exchange has a server answer and a client send for a while. Each is a thread on a processor of its own, so that no scheduler but the kernel's
// is measured. What came before is forgotten: conntrack's entries of connections that ended stay for a while.
func (s *side) exchange(ctx context.Context, answer func(fd int, buffer []byte) error, send func(until time.Time) (int, error), d time.Duration) (done exchanged, err error) {
	if _, err := s.node.Run(ctx, "conntrack", "-F"); err != nil {
		return done, err
	}
	listening, served := make(chan int, 1), make(chan error, 1)
	go func() {
		served <- onCPU(s.server, 1, &done.server, func() error { return serve(listening, answer) })
	}()
	var listener int
	select {
	case listener = <-listening:
	case err := <-served:
		return done, err
	}
	began := time.Now()
	err = onCPU(s.client, 0, &done.client, func() (err error) {
		done.count, err = send(time.Now().Add(d))
		return err
	})
	done.took = time.Since(began)
	_ = unix.Shutdown(listener, unix.SHUT_RDWR) // which ends the wait for the next connection
	err = errors.Join(err, <-served)
	return done, err
}

// exchanged is what became of an exchange: what was counted, how long it took, and what both threads used, in seconds.
type exchanged struct {
	count          int
	took           time.Duration
	client, server float64
}

// sample is so much of something, by the second and by the processors' time.
func (e exchanged) sample(amount float64) sample {
	return sample{amount / e.took.Seconds(), (e.client + e.server) * 1e6 / amount}
}

// sample is one measurement: the rate, and the processor time in µs that one of what is counted takes. On a busy machine the rate says what was left
// for us, and the processor time still what each costs.
type sample struct{ rate, used float64 }

// serve answers one connection after the other until the listener, which it tells of, is shut down.
func serve(listening chan<- int, answer func(fd int, buffer []byte) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making a socket: %w", err)
	}
	defer unix.Close(fd)
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, &unix.SockaddrInet4{Port: serverPort}), unix.Listen(fd, backlog))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	listening <- fd
	buffer := make([]byte, streamBuffer)
	for {
		conn, _, err := unix.Accept(fd)
		switch {
		case errors.Is(err, unix.EINVAL):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return fmt.Errorf("accepting: %w", err)
		}
		for err == nil || errors.Is(err, unix.EINTR) {
			err = answer(conn, buffer)
		}
		_ = unix.Close(conn)
		if !errors.Is(err, errEnded) && !errors.Is(err, unix.ECONNRESET) {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

// echo sends one message back.
func echo(fd int, buffer []byte) error {
	n, err := unix.Read(fd, buffer[:message])
	if err == nil && n == 0 {
		err = errEnded
	}
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, buffer[:n])
	if errors.Is(err, unix.EPIPE) {
		err = errEnded
	}
	return err
}

// connect connects to the server. At its end the connection is reset: else there would soon be no ports.
func (s *side) connect() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, attempts),
		unix.Connect(fd, &unix.SockaddrInet4{Port: serverPort, Addr: s.to.As4()}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit), // after that: with a limit, signals interrupt it
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("connecting: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// trip sends one message and waits for it to come back.
func trip(fd int) error {
	var buffer [message]byte
	if _, err := unix.Write(fd, buffer[:]); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	for got := 0; got < message; {
		n, err := unix.Read(fd, buffer[got:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("waiting for the answer: %w", err)
		case n == 0:
			return errEnded
		default:
			got += n
		}
	}
	return nil
}

// pin moves the calling thread onto a processor.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("choosing processor %d of %d: %w", cpu, runtime.NumCPU(), err)
	}
	return nil
}
