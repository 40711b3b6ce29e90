package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// telling is the least that an event of the API server has, in bytes on the wire: what is smaller is of the connection.
const telling = 250

// relay passes connections on from a node to the API server, and knows what came back and when. What it counts is TLS's bytes.
type relay struct {
	from   *lab.Node
	to     *lab.Host
	target string
	listen net.Listener

	mu sync.Mutex // guards the rest
	// received is how many bytes the API server has sent.
	received int64
	// arrivals are the times at which something telling was handed on, since the last forget.
	arrivals []time.Time
}

func newRelay(ctx context.Context, from *lab.Node, to *lab.Host, address, target string) (*relay, error) {
	listener, err := from.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	r := &relay{from: from, to: to, target: target, listen: listener}
	go r.accept(ctx)
	return r, nil
}

// Close ends the listening; connections end with their ends.
func (r *relay) Close() error { return r.listen.Close() }

func (r *relay) accept(ctx context.Context) {
	for {
		conn, err := r.listen.Accept()
		if err != nil {
			return
		}
		go r.serve(ctx, conn)
	}
}

func (r *relay) serve(ctx context.Context, down net.Conn) {
	defer down.Close()
	up, err := r.to.Dial(ctx, "tcp", r.target)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, down)
		_ = up.Close()
	}()
	buffer := make([]byte, 256<<10)
	for {
		n, err := up.Read(buffer)
		if n > 0 {
			r.note(n)
			if _, err := down.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// note is called before the bytes are handed on: the time it takes to hand them on is the receiver's.
func (r *relay) note(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received += int64(n)
	if n >= telling && len(r.arrivals) < 100000 {
		r.arrivals = append(r.arrivals, time.Now())
	}
}

func (r *relay) bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received
}

// forget drops the arrivals so far.
func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrivals = r.arrivals[:0]
}

// first is when something telling first arrived since the last forget.
func (r *relay) first() (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.arrivals) == 0 {
		return time.Time{}, errors.New("the API server has sent nothing")
	}
	return r.arrivals[0], nil
}

// last is when something telling last arrived; zero where nothing did.
func (r *relay) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.arrivals) == 0 {
		return time.Time{}
	}
	return r.arrivals[len(r.arrivals)-1]
}
