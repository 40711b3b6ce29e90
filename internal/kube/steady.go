package kube

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"
)

// Waits between attempts to reach an API server that is away. A reflector's own go up to 30 to 60 s, and grow over several outages: so long
// a node would be deaf to the others. With these, a cluster of 5,000 nodes asks some thousand times a second at most, and is refused
// before it costs anything.
const (
	retryMin = 200 * time.Millisecond
	retryMax = 3 * time.Second
)

// steady is a ListerWatcher that is back soon when the API server is, and notices when its store was restored from a backup.
//
// The store's resource versions are those of then: a watch from what was last seen here would wait, without an error, until the store has
// come that far again, and what happens before that would never be told. So after a watch that ended before its time, the store's present
// version is asked for; where that is older, the watch has expired, and the reflector lists anew.
type steady struct {
	inner cache.ListerWatcherWithContext
	// present reads the resource version that the store has now.
	present func(ctx context.Context) (string, error)
	// failed is told of a list that failed; may be nil.
	failed func(error)
	// again is about how often a kind that is not served is asked for, for as long as it is not; zero where that is an error. Thousands of nodes do.
	again time.Duration

	mu sync.Mutex // guards due
	// due is when the last watch ends of itself; zero before the first.
	due time.Time
}

// never is when a watch ends of itself that did not even begin.
var never = time.Unix(1<<40, 0)

// steady wraps what lists and watches a resource.
func (c *Client) steady(inner cache.ListerWatcher, resource schema.GroupVersionResource) *steady {
	return &steady{
		inner: cache.ToListerWatcherWithContext(inner),
		present: func(ctx context.Context) (string, error) {
			some, err := c.metadata.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
			if err != nil {
				return "", err
			}
			return some.ResourceVersion, nil
		},
	}
}

// IsWatchListSemanticsUnSupported is what is wrapped.
func (s *steady) IsWatchListSemanticsUnSupported() bool {
	return watchlist.DoesClientNotSupportWatchListSemantics(s.inner)
}

// List implements cache.ListerWatcher.
func (s *steady) List(o metav1.ListOptions) (runtime.Object, error) {
	return s.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher.
func (s *steady) Watch(o metav1.ListOptions) (apiwatch.Interface, error) {
	return s.WatchWithContext(context.Background(), o)
}

// ListWithContext implements cache.ListerWatcherWithContext.
func (s *steady) ListWithContext(ctx context.Context, o metav1.ListOptions) (list runtime.Object, err error) {
	for {
		err = patiently(ctx, func() error {
			list, err = s.inner.ListWithContext(ctx, o)
			if err != nil && s.failed != nil {
				s.failed(err)
			}
			return err
		})
		if s.again == 0 || !apierrors.IsNotFound(err) {
			return list, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait.Jitter(s.again, 0.5)):
		}
	}
}

// WatchWithContext implements cache.ListerWatcherWithContext.
func (s *steady) WatchWithContext(ctx context.Context, o metav1.ListOptions) (events apiwatch.Interface, err error) {
	err = patiently(ctx, func() error {
		events, err = s.watch(ctx, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return apiwatch.Filter(events, endsQuietly), nil
}

// endsQuietly leaves out the error of a watch that broke, as one does whose server is killed in the midst of an event: its end is enough,
// and the reflector watches again. After an error it would wait first, and then list. That the watch has expired it has to hear.
func endsQuietly(e apiwatch.Event) (apiwatch.Event, bool) {
	if e.Type != apiwatch.Error {
		return e, true
	}
	err := apierrors.FromObject(e.Object)
	return e, apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}

func (s *steady) watch(ctx context.Context, o metav1.ListOptions) (events apiwatch.Interface, err error) {
	s.mu.Lock()
	early := time.Now().Before(s.due)
	s.due = never
	s.mu.Unlock()
	if early {
		if err := s.check(ctx, o.ResourceVersion); err != nil {
			return nil, err
		}
	}
	events, err = s.inner.WatchWithContext(ctx, o)
	if err == nil && o.TimeoutSeconds != nil {
		s.mu.Lock()
		s.due = time.Now().Add(time.Duration(*o.TimeoutSeconds) * time.Second)
		s.mu.Unlock()
	}
	return events, err
}

// check is an error where the store is older than what was seen.
func (s *steady) check(ctx context.Context, seen string) error {
	if seen == "" || seen == "0" {
		return nil
	}
	present, err := s.present(ctx)
	if err != nil {
		return err
	}
	order, err := resourceversion.CompareResourceVersion(present, seen)
	if err != nil || order >= 0 {
		return nil //nolint:nilerr // versions that cannot be compared say nothing
	}
	return apierrors.NewResourceExpired(fmt.Sprintf("the API server's store is at version %s and was at %s: it was restored", present, seen))
}

// patiently tries until the API server answers or ctx ends, and is what it answers. That it is away is told once.
func patiently(ctx context.Context, try func() error) error {
	wait := wait.Backoff{Duration: retryMin, Factor: 2, Jitter: 0.5, Cap: retryMax, Steps: math.MaxInt32}
	for told := false; ; told = true {
		err := try()
		if err == nil || !away(err) || ctx.Err() != nil {
			return err
		}
		if !told {
			utilruntime.HandleErrorWithContext(ctx, err, "The API server is away; what is known of the cluster stays, and this is tried again")
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait.Step()):
		}
	}
}

// away says whether an error is not an answer of the API server's, or one that it gives while it starts or has too much to do.
func away(err error) bool {
	var status apierrors.APIStatus
	return !errors.As(err, &status) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}
