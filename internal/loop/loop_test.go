package loop

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// record runs a Runner in a bubble of fake time and returns the offsets at which it ran.
func record(t *testing.T, options Options, fail int, drive func(start time.Time, r *Runner)) []time.Duration {
	t.Helper()
	var runs []time.Duration
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		r := New(func(context.Context) error {
			runs = append(runs, time.Since(start))
			if len(runs) <= fail {
				return errors.New("on purpose")
			}
			return nil
		}, options)
		go func() { defer close(done); r.Run(ctx) }()
		synctest.Wait()
		drive(start, r)
		synctest.Wait()
		cancel()
		<-done
	})
	return runs
}

func TestRunner(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name    string
		options Options
		fail    int
		drive   func(start time.Time, r *Runner)
		want    []time.Duration
	}{
		{"runs once at once", Options{}, 0, func(time.Time, *Runner) { time.Sleep(time.Hour) }, []time.Duration{0}},
		{"a trigger runs at once", Options{}, 0, func(_ time.Time, r *Runner) {
			time.Sleep(5 * ms)
			r.Trigger()
		}, []time.Duration{0, 5 * ms}},
		{"triggers coalesce until the minimum", Options{Min: 20 * ms}, 0, func(_ time.Time, r *Runner) {
			for range 10 {
				r.Trigger()
			}
			time.Sleep(100 * ms)
		}, []time.Duration{0, 20 * ms}},
		{"a trigger after a run's start is not lost", Options{Min: 20 * ms}, 0, func(_ time.Time, r *Runner) {
			r.Trigger()
			time.Sleep(25 * ms)
			r.Trigger()
			time.Sleep(100 * ms)
		}, []time.Duration{0, 20 * ms, 40 * ms}},
		{"as short as it is now", Options{Min: 20 * ms, MinNow: func() time.Duration { return 50 * ms }}, 0, func(_ time.Time, r *Runner) {
			r.Trigger()
			time.Sleep(25 * ms)
			r.Trigger()
			time.Sleep(100 * ms)
		}, []time.Duration{0, 50 * ms}},
		{"failures are retried more and more slowly", Options{RetryMin: 10 * ms, RetryMax: 30 * ms}, 4,
			func(time.Time, *Runner) { time.Sleep(time.Second) }, []time.Duration{0, 10 * ms, 30 * ms, 60 * ms, 90 * ms}},
		{"a trigger cuts a retry's delay short", Options{RetryMin: time.Minute}, 1, func(_ time.Time, r *Runner) {
			time.Sleep(ms)
			r.Trigger()
		}, []time.Duration{0, ms}},
		{"the maximum runs without a trigger", Options{Max: time.Second}, 0,
			func(time.Time, *Runner) { time.Sleep(2500 * ms) }, []time.Duration{0, time.Second, 2 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, record(t, tt.options, tt.fail, tt.drive)); diff != "" {
				t.Errorf("runs at (-want +got):\n%s", diff)
			}
		})
	}
}
