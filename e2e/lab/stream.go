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

// Stream is a flow of numbered datagrams to an echo service and back. It shows what was lost, and for how long nothing
// came.
type Stream struct {
	conn net.Conn
	stop chan struct{}
	// sender and receiver are the two goroutines.
	sender, receiver sync.WaitGroup

	mu     sync.Mutex // guards the rest
	result StreamResult
	seen   map[sequence]bool
	sent   []time.Time // of each, when
	last   time.Time   // when the last one came back
}

// StreamResult is what a stream has seen.
type StreamResult struct {
	Sent, Received int
	// Lost are those that did not come back, on whichever way they were lost; Duplicated came back more than once.
	Lost, Duplicated int
	// FirstLost and LastLost are when the first and the last of those were sent; zero where none was lost.
	FirstLost, LastLost time.Time
	// LongestGap is the longest time in which none came back, after the first one.
	LongestGap time.Duration
	// SendError is the last error of the sender's own kernel; what it refused counts as sent and lost.
	SendError error
}

func (r StreamResult) String() string {
	text := fmt.Sprintf("%d sent, %d lost, %d duplicated, longest gap %s", r.Sent, r.Lost, r.Duplicated, r.LongestGap.Round(time.Millisecond))
	if r.Lost > 0 {
		text += fmt.Sprintf(", lost from %s to %s", r.FirstLost.Format("15:04:05.000"), r.LastLost.Format("15:04:05.000"))
	}
	if r.SendError != nil {
		text += ", sending: " + r.SendError.Error()
	}
	return text
}

// Stream begins to send datagrams of size bytes, at least 8, one every interval.
func (h *Host) Stream(ctx context.Context, to netip.Addr, interval time.Duration, size int) (*Stream, error) {
	conn, err := h.Dial(ctx, "udp", netip.AddrPortFrom(to, EchoPort).String())
	if err != nil {
		return nil, fmt.Errorf("%s: streaming to %s: %w", h.Name, to, err)
	}
	if err := enlarge(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: streaming to %s: %w", h.Name, to, err), conn.Close())
	}
	s := &Stream{conn: conn, stop: make(chan struct{}), seen: map[sequence]bool{}}
	s.sender.Go(func() { s.send(interval, max(size, sequenceSize)) })
	s.receiver.Go(s.receive)
	return s, nil
}

func (s *Stream) send(interval time.Duration, size int) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	payload := make([]byte, size)
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		putSequence(payload, sequence(s.result.Sent)) //nolint:gosec // not negative
		s.result.Sent++
		s.sent = append(s.sent, time.Now())
		s.mu.Unlock()
		if _, err := s.conn.Write(payload); err != nil {
			s.mu.Lock()
			s.result.SendError = err
			s.mu.Unlock()
		}
	}
}

func (s *Stream) receive() {
	buffer := make([]byte, maxDatagram)
	for {
		n, err := s.conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < sequenceSize {
			continue // an ICMP error about an earlier one
		}
		s.note(getSequence(buffer), time.Now())
	}
}

func (s *Stream) note(number sequence, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[number] {
		s.result.Duplicated++
		return
	}
	s.seen[number] = true
	s.result.Received++
	if !s.last.IsZero() {
		s.result.LongestGap = max(s.result.LongestGap, now.Sub(s.last))
	}
	s.last = now
}

// Received is how many have come back by now.
func (s *Stream) Received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.result.Received
}

// lastWait is how long Stop waits for those under way, from the last one that came.
const lastWait = time.Second

// Stop ends the stream, waits for what is under way, and says what came of it.
func (s *Stream) Stop() StreamResult {
	close(s.stop)
	s.sender.Wait() // it may be about to send one more
	start := time.Now()
	for {
		s.mu.Lock()
		all, since := s.result.Received == s.result.Sent, s.last
		s.mu.Unlock()
		if since.Before(start) {
			since = start
		}
		if all || time.Since(since) > lastWait {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = s.conn.Close() // ends the receiver
	s.receiver.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Lost = s.result.Sent - s.result.Received
	for number, at := range s.sent {
		if s.seen[sequence(number)] {
			continue
		}
		if s.result.FirstLost.IsZero() {
			s.result.FirstLost = at
		}
		s.result.LastLost = at
	}
	if s.result.Received > 0 && s.result.Lost > 0 {
		s.result.LongestGap = max(s.result.LongestGap, time.Since(s.last)-lastWait)
	}
	return s.result
}
