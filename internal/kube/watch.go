package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// watch is one informer, and what keeps it from syncing.
type watch struct {
	what     string
	informer cache.SharedIndexInformer
	handled  cache.ResourceEventHandlerRegistration
	// unserved is what it means when the API server answers 404; nil where no such server exists.
	unserved error

	// missing is closed at the first 404.
	missing     chan struct{}
	missingOnce sync.Once

	mu      sync.Mutex // guards lastErr: the informer's goroutine writes it
	lastErr error
}

// newWatch makes a watch of an informer. transform may be nil.
func newWatch(what string, informer cache.SharedIndexInformer, transform cache.TransformFunc, h cache.ResourceEventHandler) (*watch, error) {
	w := &watch{what: what, informer: informer, missing: make(chan struct{})}
	if transform != nil {
		if err := informer.SetTransform(transform); err != nil {
			return nil, fmt.Errorf("watching %s: %w", what, err)
		}
	}
	if err := informer.SetWatchErrorHandlerWithContext(w.onError); err != nil {
		return nil, fmt.Errorf("watching %s: %w", what, err)
	}
	handled, err := informer.AddEventHandler(h)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", what, err)
	}
	w.handled = handled
	return w, nil
}

// onError is called by the informer when a list or a watch fails; it tries again by itself.
func (w *watch) onError(ctx context.Context, r *cache.Reflector, err error) {
	cache.DefaultWatchErrorHandler(ctx, r, err) // logs it, by its kind
	w.mu.Lock()
	w.lastErr = err
	w.mu.Unlock()
	if apierrors.IsNotFound(err) {
		w.missingOnce.Do(func() { close(w.missing) })
	}
}

// synced is closed when the handler has seen the whole first list.
func (w *watch) synced() <-chan struct{} { return w.handled.HasSyncedChecker().Done() }

// wait waits for synced. The error says what the API server last answered.
func (w *watch) wait(ctx context.Context) error {
	missing := w.missing
	if w.unserved == nil {
		missing = nil
	}
	select {
	case <-w.synced():
		return nil
	default:
	}
	select {
	case <-w.synced():
		return nil
	case <-missing:
		return w.unserved
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(context.Cause(ctx), w.lastErr)
}

// handler makes an informer's handler that keeps a set up to date and says when the set changed. Both functions return
// whether they changed anything that we read.
func handler[T metav1.Object](changed func(), set func(T) bool, remove func(name string) bool) cache.ResourceEventHandler {
	onSet := func(obj any) {
		if o, ok := obj.(T); ok && set(o) {
			changed()
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    onSet,
		UpdateFunc: func(_, obj any) { onSet(obj) },
		DeleteFunc: func(obj any) {
			// The key stands in for an object whose deletion was missed; without a namespace it is the name.
			if name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil && remove(name) {
				changed()
			}
		},
	}
}
