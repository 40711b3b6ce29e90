package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Flow is a TCP connection to an echo service that carries a block of bytes every few milliseconds, there and back.
type Flow struct {
	conn             net.Conn
	stop             chan struct{}
	sender, receiver sync.WaitGroup

	mu     sync.Mutex // guards the rest
	result FlowResult
	last   time.Time // when bytes last came back
}

// FlowResult is what a flow has seen.
type FlowResult struct {
	// Sent and Returned are bytes. What returned is what was sent, in order.
	Sent, Returned int
	// LongestGap is the longest time in which nothing came back.
	LongestGap time.Duration
	// Err is what ended the connection before its time.
	Err error
}

func (r FlowResult) String() string {
	text := fmt.Sprintf("%d bytes sent, %d back, longest gap %s", r.Sent, r.Returned, r.LongestGap.Round(time.Millisecond))
	if r.Err != nil {
		text += ", ended by: " + r.Err.Error()
	}
	return text
}

const (
	flowBlock    = 1000 // bytes
	flowInterval = 5 * time.Millisecond
	// flowPeriod is after how many bytes their values begin anew: no power of 2, so that bytes of another block are seen.
	flowPeriod = 251
)

// Flow opens a connection and begins to send.
func (h *Host) Flow(ctx context.Context, to netip.Addr) (*Flow, error) {
	conn, err := h.Dial(ctx, "tcp", netip.AddrPortFrom(to, EchoPort).String())
	if err != nil {
		return nil, fmt.Errorf("%s: opening a flow to %s: %w", h.Name, to, err)
	}
	f := &Flow{conn: conn, stop: make(chan struct{}), last: time.Now()}
	f.sender.Go(f.send)
	f.receiver.Go(f.receive)
	return f, nil
}

func (f *Flow) send() {
	tick := time.NewTicker(flowInterval)
	defer tick.Stop()
	block, sent := make([]byte, flowBlock), 0
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		for i := range block {
			block[i] = byte((sent + i) % flowPeriod)
		}
		n, err := f.conn.Write(block)
		sent += n
		f.mu.Lock()
		f.result.Sent = sent
		f.mu.Unlock()
		if err != nil {
			f.end(err)
			return
		}
	}
}

func (f *Flow) receive() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := f.conn.Read(buffer)
		if err != nil {
			f.end(err)
			return
		}
		if err := f.note(buffer[:n]); err != nil {
			f.end(err)
			return
		}
	}
}

func (f *Flow) note(back []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, b := range back {
		if position := f.result.Returned + i; int(b) != position%flowPeriod {
			return fmt.Errorf("byte %d came back as another", position)
		}
	}
	f.result.Returned += len(back)
	now := time.Now()
	f.result.LongestGap = max(f.result.LongestGap, now.Sub(f.last))
	f.last = now
	return nil
}

// end keeps the first error; that we closed it ourselves is none.
func (f *Flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.result.Err == nil && !errors.Is(err, net.ErrClosed) {
		f.result.Err = err
	}
}

// Stop ends the flow, waits up to a second for what is under way, and says what came of it.
func (f *Flow) Stop() FlowResult {
	close(f.stop)
	_ = f.conn.SetWriteDeadline(time.Now().Add(lastWait)) // a sender that is stuck ends
	f.sender.Wait()
	for deadline := time.Now().Add(lastWait); time.Now().Before(deadline) && !f.whole(); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = f.conn.Close() // ends the receiver
	f.receiver.Wait()
	if !f.whole() && f.result.Err == nil {
		f.result.LongestGap = max(f.result.LongestGap, time.Since(f.last))
	}
	return f.result
}

func (f *Flow) whole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.result.Returned == f.result.Sent
}
