package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/api/v1alpha1"
)

func add[T metav1.Object](t *testing.T, m *mirror[T], o T) {
	t.Helper()
	if err := m.Add(o); err != nil {
		t.Fatal(err)
	}
}

func replace[T metav1.Object](t *testing.T, m *mirror[T], all ...T) {
	t.Helper()
	var list []any
	for _, o := range all {
		list = append(list, o)
	}
	if err := m.Replace(list, ""); err != nil {
		t.Fatal(err)
	}
}

// TestMirror: what is listed and watched reaches the set, what vanished unseen too, and each change is told of once.
func TestMirror(t *testing.T) {
	var set keySet
	changes := 0
	m := newMirror(func() { changes++ }, set.set, set.remove)
	key := func(seed byte) *v1alpha1.NodeKey { return nodeKey(testKey(seed), "n1") }
	synced := func() bool {
		select {
		case <-m.synced:
			return true
		default:
			return false
		}
	}
	for _, step := range []struct {
		name          string
		do            func()
		keys, changes int
		synced        bool
	}{
		{"an event", func() { add(t, m, key(2)) }, 1, 1, false},
		{"the same again", func() { add(t, m, key(2)) }, 1, 1, false},
		{"a list of others", func() { replace(t, m, key(3), key(4)) }, 2, 2, true},
		{"the same list", func() { replace(t, m, key(3), key(4)) }, 2, 2, true},
		{"one goes", func() { _ = m.Delete(key(3)) }, 1, 3, true},
		{"one that nobody knew goes", func() { _ = m.Delete(key(3)) }, 1, 3, true},
		{"an empty list", func() { replace(t, m) }, 0, 4, true},
	} {
		step.do()
		if len(set.byName) != step.keys || changes != step.changes || synced() != step.synced {
			t.Errorf("%s: %d keys, %d changes, synced %v; want %d, %d, %v", step.name, len(set.byName), changes, synced(), step.keys, step.changes, step.synced)
		}
	}
	if m.Add(&corev1.Pod{}) == nil || m.Delete(&corev1.Pod{}) == nil || m.Replace([]any{&corev1.Pod{}}, "") == nil {
		t.Error("an object of another kind is no error")
	}
}
