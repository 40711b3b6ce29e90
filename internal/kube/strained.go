package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// strained lists and watches whole objects and hands on what see keeps of each: of a hundred thousand Pods no more than a page is in
// memory at once.
type strained struct {
	inner cache.ListerWatcherWithContext
	see   func(runtime.Object) runtime.Object
	// page is how many objects are read at once.
	page int64
}

var (
	_ cache.ListerWatcher            = (*strained)(nil)
	_ cache.ListerWatcherWithContext = (*strained)(nil)
)

func strain(lists cache.ListerWatcher, see func(runtime.Object) runtime.Object) *strained {
	return &strained{inner: cache.ToListerWatcherWithContext(lists), see: see, page: pageSize}
}

// IsWatchListSemanticsUnSupported keeps the reflector from listing by a watch, for which it would keep the objects whole.
func (*strained) IsWatchListSemanticsUnSupported() bool { return true }

// List implements cache.ListerWatcher.
func (s *strained) List(o metav1.ListOptions) (runtime.Object, error) {
	return s.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher.
func (s *strained) Watch(o metav1.ListOptions) (apiwatch.Interface, error) {
	return s.WatchWithContext(context.Background(), o)
}

// ListWithContext reads what the API server has now, whatever the resource version asked for.
func (s *strained) ListWithContext(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	list := &seenList{}
	for page := (metav1.ListOptions{Limit: s.page}); ; page.Continue = list.Continue {
		objects, err := s.inner.ListWithContext(ctx, page)
		if err != nil {
			return nil, err
		}
		if err := meta.EachListItem(objects, func(o runtime.Object) error {
			list.Items = append(list.Items, s.see(o))
			return nil
		}); err != nil {
			return nil, err
		}
		of, err := meta.ListAccessor(objects)
		if err != nil {
			return nil, err
		}
		list.ResourceVersion, list.Continue = of.GetResourceVersion(), of.GetContinue()
		if list.Continue == "" {
			return list, nil
		}
	}
}

// WatchWithContext implements cache.ListerWatcherWithContext.
func (s *strained) WatchWithContext(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	events, err := s.inner.WatchWithContext(ctx, o)
	if err != nil {
		return nil, err
	}
	return apiwatch.Filter(events, func(e apiwatch.Event) (apiwatch.Event, bool) {
		if e.Type != apiwatch.Error {
			e.Object = s.see(e.Object)
		}
		return e, true
	}), nil
}
