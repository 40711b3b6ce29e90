package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/bench/report"
)

const (
	// roundTrips are made for one sample, after warmUp more that do not count.
	roundTrips = 500
	warmUp     = 50
	// tripPatience is after how long a datagram is given up, and maxLost how many may be.
	tripPatience = 500 * time.Millisecond
	maxLost      = 3
)

// latency is the median time of a small datagram there and back, one after the other, in µs.
func latency(ctx context.Context, p path, _ time.Duration) (sample, error) {
	echo, err := listen(p, func(fd int, payload []byte, from unix.Sockaddr) error { return unix.Sendto(fd, payload, 0, from) })
	if err != nil {
		return sample{}, err
	}
	var trips []float64
	err = p.atClient(func() (err error) {
		trips, err = pingPong(ctx, p)
		return err
	})
	if err = errors.Join(err, echo.Close()); err != nil {
		return sample{}, fmt.Errorf("round trips by the path %s: %w", p.name, err)
	}
	return sample{value: report.Median(trips)}, nil
}

// pingPong returns the times of the round trips, in µs.
func pingPong(ctx context.Context, p path) (trips []float64, err error) {
	fd, err := dial(p.to, tripPatience)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buffer := make([]byte, smallPayload)
	lost := 0
	for i := range warmUp + roundTrips {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		took, err := trip(fd, buffer, i)
		if none(err) && lost < maxLost {
			lost++
			continue
		}
		if err != nil {
			return nil, err
		}
		if i >= warmUp {
			trips = append(trips, float64(took)/float64(time.Microsecond))
		}
	}
	return trips, nil
}

// trip is one there and back. An answer to one that was given up is not taken for this one's.
func trip(fd int, buffer []byte, number int) (time.Duration, error) {
	mark := [2]byte{byte(number >> 8), byte(number)} //nolint:gosec // the low bits are meant
	copy(buffer, mark[:])
	start := time.Now()
	if _, err := unix.Write(fd, buffer); err != nil {
		return 0, fmt.Errorf("sending: %w", err)
	}
	for {
		_, err := unix.Read(fd, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("waiting for the answer: %w", err)
		case [2]byte(buffer) == mark:
			return time.Since(start), nil
		}
	}
}
