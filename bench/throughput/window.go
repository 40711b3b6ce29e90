package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// window is how many packets are under way at most: enough to keep every processor busy, and fewer than the queues of a
	// TUN and of a socket hold.
	window = 256
	// acknowledged is after how many packets the receiver says how far it is.
	acknowledged = window / 4
	// ackPatience is after how long what is under way counts as lost.
	ackPatience = 20 * time.Millisecond
)

// smallUDP is how many thousand small packets a second arrive from a sender that does not overrun its receiver, as what runs over
// UDP in earnest does not.
func smallUDP(ctx context.Context, p path, d time.Duration) (sample, error) {
	var received atomic.Int64
	sink, err := listen(p, func(fd int, payload []byte, from unix.Sockaddr) error {
		if received.Add(1)%acknowledged != 0 {
			return nil
		}
		return unix.Sendto(fd, payload, 0, from)
	})
	if err != nil {
		return sample{}, err
	}
	var took time.Duration
	err = p.atClient(func() (err error) {
		took, err = send(ctx, p, d)
		return err
	})
	count := received.Load()
	if err = errors.Join(err, sink.Close()); err != nil {
		return sample{}, fmt.Errorf("small packets by the path %s: %w", p.name, err)
	}
	return sample{value: float64(count) / took.Seconds() / 1000}, nil
}

// send sends numbered packets for a while, never more than the window ahead of the receiver. It returns how long it took.
func send(ctx context.Context, p path, d time.Duration) (time.Duration, error) {
	fd, err := dial(p.to, ackPatience)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	payload, ack := make([]byte, smallPayload), make([]byte, smallPayload)
	start := time.Now()
	var sent, arrived uint64
	for time.Since(start) < d && ctx.Err() == nil {
		for sent-arrived >= window {
			_, err := unix.Read(fd, ack)
			switch {
			case err == nil:
				arrived = max(arrived, binary.BigEndian.Uint64(ack))
			case errors.Is(err, unix.EAGAIN):
				arrived = sent
			case !errors.Is(err, unix.EINTR):
				return 0, fmt.Errorf("waiting for the receiver: %w", err)
			}
		}
		sent++
		binary.BigEndian.PutUint64(payload, sent)
		if _, err := unix.Write(fd, payload); err != nil {
			return 0, fmt.Errorf("sending: %w", err)
		}
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return time.Since(start), nil
}
