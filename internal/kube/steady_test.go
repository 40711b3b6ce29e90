package kube

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
)

// watching watches, or fails with err.
type watching struct{ err error }

func (*watching) ListWithContext(context.Context, metav1.ListOptions) (runtime.Object, error) {
	return &metav1.Status{}, nil
}

func (w *watching) WatchWithContext(context.Context, metav1.ListOptions) (apiwatch.Interface, error) {
	return apiwatch.NewEmptyWatch(), w.err
}

// TestRestored: the store's version is asked for where a watch ended before its time, or did not begin; and what was seen has expired where
// that is older.
func TestRestored(t *testing.T) {
	down := errors.New("connection refused")
	for _, c := range []struct {
		name    string
		timeout time.Duration // of the first watch
		between error         // what the watches between fail with
		seen    string
		present string
		asked   bool
		expired bool
	}{
		{"a watch that ended in its time", 0, nil, "100", "50", false, false},
		{"before its time, and nothing was restored", time.Hour, nil, "100", "100", true, false},
		{"and the store went on", time.Hour, nil, "99", "100", true, false},
		{"and the store is older", time.Hour, nil, "100", "99", true, true},
		{"in its time, but the API server was away", 0, down, "100", "99", true, true},
		{"a new list", time.Hour, nil, "", "99", false, false},
		{"a list of anything", time.Hour, nil, "0", "99", false, false},
		{"versions that are no numbers", time.Hour, nil, "abc", "99", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, inner := false, &watching{}
			s := &steady{inner: inner, present: func(context.Context) (string, error) {
				asked = true
				return c.present, nil
			}}
			seconds := int64(c.timeout.Seconds())
			options := metav1.ListOptions{ResourceVersion: c.seen, TimeoutSeconds: &seconds}
			if _, err := s.watch(t.Context(), options); err != nil || asked {
				t.Fatalf("the first watch: %v, asked: %t", err, asked)
			}
			if c.between != nil {
				inner.err = c.between
				if _, err := s.watch(t.Context(), options); !errors.Is(err, c.between) {
					t.Fatalf("while it is away: %v", err)
				}
				inner.err = nil
			}
			_, err := s.watch(t.Context(), options)
			if asked != c.asked || apierrors.IsResourceExpired(err) != c.expired || (err != nil) != c.expired {
				t.Errorf("asked: %t, want %t; expired: %v, want %t", asked, c.asked, err, c.expired)
			}
		})
	}
}

// TestPatiently: an API server that is away is asked every few seconds, however long, and its answer is the answer.
func TestPatiently(t *testing.T) {
	// They slow down who tells too much, by the time outside of the bubble.
	defer func(handlers []utilruntime.ErrorHandler) { utilruntime.ErrorHandlers = handlers }(utilruntime.ErrorHandlers)
	utilruntime.ErrorHandlers = nil
	refused := &net.OpError{Op: "dial", Err: unix.ECONNREFUSED}
	nodes := schema.GroupResource{Resource: "nodes"}
	for name, c := range map[string]struct {
		failure error
		again   bool
	}{
		"refused":                 {refused, true},
		"starting":                {apierrors.NewServiceUnavailable("starting"), true},
		"overloaded":              {apierrors.NewTooManyRequests("busy", 1), true},
		"broken inside":           {apierrors.NewInternalError(errors.New("etcd")), true},
		"an expired version":      {apierrors.NewResourceExpired("old"), false},
		"a version too large":     {apierrors.NewTimeoutError("Too large resource version", 1), false},
		"nothing of that kind":    {apierrors.NewNotFound(nodes, ""), false},
		"a token that is no good": {apierrors.NewUnauthorized("no"), false},
		"no permission":           {apierrors.NewForbidden(nodes, "", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, last, longest, tries := time.Now(), time.Now(), time.Duration(0), 0
				err := patiently(t.Context(), func() error {
					tries++
					longest, last = max(longest, time.Since(last)), time.Now()
					if time.Since(start) > time.Hour {
						return nil
					}
					return c.failure
				})
				if !c.again && (tries != 1 || !errors.Is(err, c.failure)) {
					t.Errorf("%d tries, %v", tries, err)
				}
				if c.again && (err != nil || longest > 3*retryMax/2 || tries > 1+int(time.Hour/(retryMax/2))) {
					t.Errorf("%d tries, at most %s apart, %v", tries, longest, err)
				}
			})
		})
	}
	t.Run("it ends with its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := patiently(ctx, func() error { return refused }); !errors.Is(err, refused) {
				t.Error(err)
			}
		})
	})
}

// TestAWatchThatBreaksEndsQuietly: the reflector hears of its end, and of an error only that it has to list anew.
func TestAWatchThatBreaksEndsQuietly(t *testing.T) {
	for name, c := range map[string]struct {
		status *apierrors.StatusError
		told   bool
	}{
		"a torn event": {apierrors.NewInternalError(errors.New("unable to decode an event from the watch stream")), false},
		"it expired":   {apierrors.NewResourceExpired("too old resource version"), true},
	} {
		t.Run(name, func(t *testing.T) {
			fake := apiwatch.NewFake()
			s := &steady{inner: &fixed{events: fake}}
			events, err := s.WatchWithContext(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				fake.Error(&c.status.ErrStatus)
				fake.Stop()
			}()
			told := false
			for e := range events.ResultChan() {
				told = told || e.Type == apiwatch.Error
			}
			if told != c.told {
				t.Errorf("an error is told: %v, want %v", told, c.told)
			}
		})
	}
}

// fixed has one watch.
type fixed struct {
	watching
	events apiwatch.Interface
}

func (f *fixed) WatchWithContext(context.Context, metav1.ListOptions) (apiwatch.Interface, error) {
	return f.events, nil
}
