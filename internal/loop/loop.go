// Package loop runs a reconciler: triggers coalesce, failures are retried with a growing delay, and nothing that was asked for
// is ever lost.
package loop

import (
	"context"
	"time"
)

// Options say when a Runner runs. The zero value of a duration means what is said with it.
type Options struct {
	// Min is the shortest time between the starts of two runs; what is triggered meanwhile is one run. 0: none.
	Min time.Duration
	// MinNow, where given, is asked for Min after each run.
	MinNow func() time.Duration
	// RetryMin and RetryMax bound the delay after a failed run, which doubles with each failure in a row.
	// 0: 100 ms and 10 s.
	RetryMin, RetryMax time.Duration
	// Max is the longest time between two runs, triggered or not. 0: no limit.
	Max time.Duration
	// OnResult is told of each run: how long it took, and its error or nil. It is the one place that logs and counts.
	OnResult func(took time.Duration, err error)
}

// Runner runs one function, never twice at once.
type Runner struct {
	run     func(ctx context.Context) error
	options Options
	trigger chan struct{}
}

// New makes a Runner of run. It does nothing until Run is called.
func New(run func(ctx context.Context) error, options Options) *Runner {
	if options.RetryMin == 0 {
		options.RetryMin = 100 * time.Millisecond
	}
	if options.RetryMax == 0 {
		options.RetryMax = 10 * time.Second
	}
	if options.OnResult == nil {
		options.OnResult = func(time.Duration, error) {}
	}
	return &Runner{run: run, options: options, trigger: make(chan struct{}, 1)}
}

// Trigger asks for a run that starts after this call. It never blocks.
func (r *Runner) Trigger() {
	select {
	case r.trigger <- struct{}{}:
	default: // One is asked for and has not started: it will see what we saw.
	}
}

// Run runs the function at once, and then whenever it is due, until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	retry := r.options.RetryMin
	for ctx.Err() == nil {
		select {
		case <-r.trigger: // Asked for before this run starts: this run sees it.
		default:
		}
		start := time.Now()
		err := r.run(ctx)
		r.options.OnResult(time.Since(start), err)
		if err == nil {
			retry = r.options.RetryMin
			r.wait(ctx, r.options.Max)
		} else {
			r.wait(ctx, retry)
			retry = min(2*retry, r.options.RetryMax)
		}
		if r.options.MinNow != nil {
			r.options.Min = r.options.MinNow()
		}
		Pause(ctx, r.options.Min-time.Since(start))
	}
}

// wait ends with a trigger, with ctx, or after limit where there is one.
func (r *Runner) wait(ctx context.Context, limit time.Duration) {
	var due <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-r.trigger:
	case <-due:
	}
}

// Pause waits for so long, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
