package kube

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
)

func nodeKey(key identity.PublicKey, node string) *v1alpha1.NodeKey {
	return &v1alpha1.NodeKey{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeKeyName(key)},
		Spec:       v1alpha1.NodeKeySpec{PublicKey: key.String(), NodeName: node},
	}
}

func TestKeySet(t *testing.T) {
	var set keySet
	held := func(want string) {
		t.Helper()
		if got := set.of(testKey(1)); got != want {
			t.Errorf("the key is held by %q, want %q", got, want)
		}
	}
	held("")
	if !set.set(nodeKey(testKey(1), "n1")) || set.set(nodeKey(testKey(1), "n1")) {
		t.Error("the first NodeKey is a change once")
	}
	held("n1")

	// Under another name than the key's hash somebody could claim a key that is held already.
	thief := nodeKey(testKey(1), "n2")
	thief.Name = v1alpha1.NodeKeyName(testKey(2))
	if set.set(thief) {
		t.Error("a NodeKey of another name than its key's is a change")
	}
	held("n1")
	if set.remove(thief.Name) {
		t.Error("its end is a change")
	}
	held("n1")

	broken := nodeKey(testKey(1), "n1")
	broken.Spec.PublicKey = "AAAA"
	if !set.set(broken) {
		t.Error("a NodeKey that lost its key is no change")
	}
	held("")
}

// TestKeysMakeSnapshotsAnew: a NodeKey may come before its Node, after it, and end before it.
func TestKeysMakeSnapshotsAnew(t *testing.T) {
	w := newWatcher("n1", false)
	changes := 0
	keys := newMirror(after(w.nodes.outdatedKeys, func() { changes++ }), w.keys.set, w.keys.remove)
	holder := func() string { return w.Snapshot().Nodes[0].KeyHolder }

	node := fullNode("n2")
	node.Annotations["warren.dev/public-key"] = testKey(1).String()
	w.nodes.set(seenWhole(node))
	if got := holder(); got != "" {
		t.Errorf("before there is a NodeKey %q has it", got)
	}
	add(t, keys, nodeKey(testKey(1), "n2"))
	if got := holder(); got != "n2" || changes != 1 {
		t.Errorf("with the NodeKey %q has it, %d changes", got, changes)
	}
	before := w.Snapshot()
	replace(t, keys)
	if got := holder(); got != "" || changes != 2 {
		t.Errorf("without the NodeKey %q has it, %d changes", got, changes)
	}
	if before.Nodes[0].KeyHolder != "n2" {
		t.Error("a snapshot changed after it was taken")
	}
}
