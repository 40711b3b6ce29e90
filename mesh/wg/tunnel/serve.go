package tunnel

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ServeSocket is where a process that runs devices for others is usually asked.
	ServeSocket = "/run/warren/tunnel.sock"
	// askTimeout is how long a device may take to be made, or a question to be said.
	askTimeout = 10 * time.Second
	// isRunning is the answer where the device runs; any other says why it does not.
	isRunning = "running"
)

// Serve runs devices for those who Ask, in this process, until ctx is done. So the agent's own container may come and go without them.
func Serve(ctx context.Context, listener net.Listener, log io.Writer) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	s := &server{log: log}
	defer s.busy.Wait()
	for {
		client, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting to be asked for a device: %w", err)
		}
		s.busy.Go(func() { s.answer(ctx, client) })
	}
}

type server struct {
	log  io.Writer
	busy sync.WaitGroup // with answers, and with devices that they began
}

// answer reads a line, the interface's name, and writes one.
func (s *server) answer(ctx context.Context, client net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	defer func() { _ = client.Close() }()
	_ = client.SetDeadline(time.Now().Add(askTimeout)) // a socket that is gone fails below
	name, err := bufio.NewReader(io.LimitReader(client, unix.IFNAMSIZ)).ReadString('\n')
	if err != nil {
		return // nobody is there to be told
	}
	answer := isRunning
	if err := s.start(ctx, strings.TrimSuffix(name, "\n")); err != nil {
		answer = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	_, _ = io.WriteString(client, answer+"\n") // who has gone asks again
}

// start returns when the device runs. How it ends later is logged.
func (s *server) start(ctx context.Context, name string) error {
	ready, ended := make(chan struct{}), make(chan error, 1)
	s.busy.Go(func() {
		err := Run(ctx, Options{Interface: name, Log: s.log, Ready: func() { close(ready) }})
		if err != nil {
			newLogger(s.log, name).Errorf("the device ended: %v", err)
		}
		ended <- err
	})
	select {
	case <-ready:
		return nil
	case err := <-ended:
		return cmp.Or(err, errors.New("it ended"))
	}
}

// Ask has the process that serves on the socket run the interface's device, in its own network namespace. It returns when the device can be
// driven.
func Ask(socket, iface string) error {
	server, err := net.DialTimeout("unix", socket, askTimeout) //nolint:noctx // no name to look up, and bounded
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("nobody runs userspace devices at %s (is a pod of the DaemonSet warren-tunnel on this node?): %w", socket, err)
	}
	if err != nil {
		return fmt.Errorf("asking for a userspace device: %w", err)
	}
	defer func() { _ = server.Close() }()
	if err := server.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return fmt.Errorf("asking for a userspace device: %w", err)
	}
	if _, err := io.WriteString(server, iface+"\n"); err != nil {
		return fmt.Errorf("asking for a userspace device: %w", err)
	}
	answer, err := bufio.NewReader(server).ReadString('\n')
	if err != nil {
		return fmt.Errorf("waiting for the answer at %s: %w", socket, err)
	}
	if answer = strings.TrimSuffix(answer, "\n"); answer != isRunning {
		return fmt.Errorf("who runs userspace devices at %s says: %s", socket, answer)
	}
	return nil
}
