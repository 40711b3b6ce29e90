package kube

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// mirror hands what a reflector lists and watches on to a set, which keeps what we read of it. An informer would keep a copy of everything,
// pass each event through three goroutines more, and hide the reflector's waits.
type mirror[T metav1.Object] struct {
	// set and remove say whether they changed anything that we read; changed is called once for each event or list that did.
	set     func(T) bool
	remove  func(key string) bool
	changed func()
	// keys are those of all that was set and not removed. Only the reflector uses them.
	keys map[string]struct{}
	// synced is closed when the first list was taken over.
	synced chan struct{}
}

var _ cache.ReflectorStore = (*mirror[metav1.Object])(nil)

func newMirror[T metav1.Object](changed func(), set func(T) bool, remove func(key string) bool) *mirror[T] {
	return &mirror[T]{set: set, remove: remove, changed: changed, keys: map[string]struct{}{}, synced: make(chan struct{})}
}

// Add implements cache.ReflectorStore.
func (m *mirror[T]) Add(obj any) error {
	changed, err := m.put(obj)
	if changed {
		m.changed()
	}
	return err
}

// Update implements cache.ReflectorStore.
func (m *mirror[T]) Update(obj any) error { return m.Add(obj) }

// Delete implements cache.ReflectorStore.
func (m *mirror[T]) Delete(obj any) error {
	o, err := as[T](obj)
	if err != nil {
		return err
	}
	key := keyOf(o)
	delete(m.keys, key)
	if m.remove(key) {
		m.changed()
	}
	return nil
}

// Replace implements cache.ReflectorStore: what is not in the list is gone, seen or not.
func (m *mirror[T]) Replace(list []any, _ string) error {
	before, changed := m.keys, false
	m.keys = make(map[string]struct{}, len(list))
	for _, obj := range list {
		one, err := m.put(obj)
		if err != nil {
			return err
		}
		changed = changed || one
	}
	for key := range before {
		if _, ok := m.keys[key]; !ok {
			changed = m.remove(key) || changed
		}
	}
	select {
	case <-m.synced:
	default:
		close(m.synced)
	}
	if changed {
		m.changed()
	}
	return nil
}

// Resync implements cache.ReflectorStore.
func (*mirror[T]) Resync() error { return nil }

func (m *mirror[T]) put(obj any) (changed bool, err error) {
	o, err := as[T](obj)
	if err != nil {
		return false, err
	}
	m.keys[keyOf(o)] = struct{}{}
	return m.set(o), nil
}

// keyOf is an object's name, after its namespace and a slash where it has one.
func keyOf(o metav1.Object) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

func as[T metav1.Object](obj any) (T, error) {
	o, ok := obj.(T)
	if !ok {
		return o, fmt.Errorf("following %T: the API server sent a %T", o, obj)
	}
	return o, nil
}
