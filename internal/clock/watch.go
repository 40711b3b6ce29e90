package clock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Watch tells that the system's clock was set, by whomever and to whatever, until ctx ends; then it closes the channel. What is told
// while nobody listens is told once.
//
// It is a timer that never fires, which the kernel cancels when the clock is set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). A clock that
// is slewed (adjtime) goes on, and is not told of.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	if err := arm(fd); err != nil {
		return nil, errors.Join(err, timer.Close())
	}
	told := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = timer.Close() }) // which ends Read
	go func() {
		defer close(told)
		defer func() {
			if stop() {
				_ = timer.Close()
			}
		}()
		var expirations [8]byte
		for {
			_, err := timer.Read(expirations[:])
			if !errors.Is(err, unix.ECANCELED) {
				return
			}
			select {
			case told <- struct{}{}:
			default:
			}
			if arm(fd) != nil {
				return
			}
		}
	}()
	return told, nil
}

// arm sets the timer to a time that does not come.
func arm(fd int) error {
	never := &unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, never, nil); err != nil {
		return fmt.Errorf("setting a timer: %w", err)
	}
	return nil
}
