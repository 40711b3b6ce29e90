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
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// watch follows one resource, and says what keeps it from syncing.
type watch struct {
	what string
	run  func(ctx context.Context)
	// synced is closed when the whole first list was taken over.
	synced <-chan struct{}
	// unserved is what it means when the API server answers 404; nil where no such server exists.
	unserved error

	// hopeless is closed when to wait is of no use: at the first 404, or when the API server has refused for a while.
	hopeless     chan struct{}
	hopelessOnce sync.Once

	mu      sync.Mutex // guards all below: the reflector's goroutine writes them
	lastErr error
	// denied is since when the API server answers 403; zero where it does not.
	denied time.Time
	// reason is why it is hopeless.
	reason error
}

// deniedFor is how long an API server may refuse: one that starts does until it knows the roles.
const deniedFor = 30 * time.Second

// newWatch makes a watch that hands what lists has on to a mirror. what is for people, and example is an object of the mirror's type.
func newWatch[T interface {
	metav1.Object
	runtime.Object
}](what string, lists *steady, example T, into *mirror[T]) *watch {
	w := &watch{what: what, synced: into.synced, hopeless: make(chan struct{})}
	lists.failed = w.onError
	reflector := cache.NewReflectorWithOptions(lists, example, into, cache.ReflectorOptions{
		Name: what, TypeDescription: fmt.Sprintf("%T", example),
		// The reflector lists anew, after a wait that grows, whenever a watch breaks that has only just begun: over some outages in a row
		// its own would be up to a minute, in which the node is deaf to the others.
		Backoff: &wait.Backoff{Duration: retryMin, Factor: 2, Jitter: 0.5, Cap: retryMax, Steps: math.MaxInt32},
	})
	w.run = reflector.RunWithContext
	return w
}

// onError is told of a list that failed. It is tried again.
func (w *watch) onError(err error) { w.judge(err, time.Now()) }

// judge keeps an error, and says by hopeless whether it will go away.
func (w *watch) judge(err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastErr = err
	var reason error
	switch {
	case apierrors.IsNotFound(err):
		reason = w.unserved
	case !apierrors.IsForbidden(err):
		w.denied = time.Time{}
	case w.denied.IsZero():
		w.denied = now
	case w.unserved != nil && now.Sub(w.denied) >= deniedFor:
		reason = fmt.Errorf("%w for %s: does the ClusterRole warren say what manifests/base/rbac.yaml does? %w", ErrDenied, deniedFor, err)
	}
	if reason != nil {
		w.hopelessOnce.Do(func() {
			w.reason = reason
			close(w.hopeless)
		})
	}
}

// hasSynced says whether synced is closed.
func (w *watch) hasSynced() bool {
	select {
	case <-w.synced:
		return true
	default:
		return false
	}
}

// settled says whether it has synced, or never will: what it follows is not served.
func (w *watch) settled() bool {
	select {
	case <-w.hopeless:
		return w.hasSynced() || !errors.Is(w.reason, ErrDenied)
	default:
		return w.hasSynced()
	}
}

// wait waits for synced. The error says what the API server last answered.
func (w *watch) wait(ctx context.Context) error {
	if w.hasSynced() {
		return nil
	}
	select {
	case <-w.synced:
		return nil
	case <-w.hopeless:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.reason
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(context.Cause(ctx), w.lastErr)
}
