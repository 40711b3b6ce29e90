package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/warren-mesh/warren/e2e/vm/outside"
)

// outsider runs the control planes of the machine's labs on this machine, each in namespaces of its own.
type outsider struct {
	listener net.Listener
	token    string
	// programs and bin are the folders of the control plane's programs and of the lab's.
	programs, bin string

	mu       sync.Mutex // guards sessions
	sessions map[string]*session
	nodes    chan *node
	made     int
	work     sync.WaitGroup
	end      context.CancelFunc
}

// startOutsider begins to serve the machine. Everybody here can connect: only who has the token is heard.
func startOutsider(ctx context.Context, programs, bin string) (*outsider, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	o := &outsider{listener: listener, token: rand.Text(), programs: programs, bin: bin, sessions: map[string]*session{}, nodes: make(chan *node), end: end}
	o.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			o.work.Go(func() { o.serve(ctx, conn) })
		}
	})
	return o, nil
}

// port is where the machine reaches it.
func (o *outsider) port() int { return o.listener.Addr().(*net.TCPAddr).Port }

// Close ends all control planes.
func (o *outsider) Close() error {
	o.end()
	err := o.listener.Close()
	o.work.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.sessions {
		err = errors.Join(err, s.lab.Close())
	}
	return err
}

// serve serves one connection. What goes wrong the stand-in sees, and says, by its end.
func (o *outsider) serve(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	from := bufio.NewReader(conn)
	token, err := from.ReadString('\n')
	if err != nil || subtle.ConstantTimeCompare([]byte(strings.TrimSpace(token)), []byte(o.token)) == 0 {
		return
	}
	line, err := from.ReadBytes('\n')
	var request outside.Request
	if err == nil {
		err = json.Unmarshal(line, &request)
	}
	if err != nil {
		return
	}
	if request.Node != "" {
		o.meet(ctx, request.Node, from, conn)
		return
	}
	if request.Run == nil {
		o.dial(ctx, request, struct {
			io.Reader
			io.WriteCloser
		}{from, conn})
		return
	}
	code, err := o.run(ctx, request, conn, from)
	last := outside.Event{Ended: true, Code: code}
	if err != nil {
		last.Output, last.Code = fmt.Appendf(nil, "outside the machine: %v\n", err), 1
	}
	_ = json.NewEncoder(conn).Encode(last) // who has gone needs no answer
}

func (o *outsider) dial(ctx context.Context, request outside.Request, client io.ReadWriteCloser) {
	s, err := o.session(ctx, request.Dir)
	if err != nil {
		return
	}
	server, err := s.lab.Switch().Dial(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", request.Port))
	if err == nil {
		outside.Splice(client, server)
	}
}

// run runs a program until it ends or the stand-in does.
func (o *outsider) run(ctx context.Context, request outside.Request, events io.Writer, standIn io.Reader) (int, error) {
	s, err := o.session(ctx, request.Dir)
	if err != nil {
		return 0, err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		_, _ = io.Copy(io.Discard, standIn) // it says nothing more: this is its end
		end()
	}()
	return s.run(ctx, o.programs, request, output{json.NewEncoder(events)})
}

// output makes events of what is written.
type output struct{ events *json.Encoder }

func (o output) Write(text []byte) (int, error) {
	if err := o.events.Encode(outside.Event{Output: text}); err != nil {
		return 0, err
	}
	return len(text), nil
}
