package kube

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
)

// TestAnyNodeKey: whatever a NodeKey holds, it takes nobody's key from its holder, and gives one only where its name is that key's.
func TestAnyNodeKey(t *testing.T) { rapid.Check(t, anyNodeKey) }

func FuzzNodeKey(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anyNodeKey)) }

func anyNodeKey(t *rapid.T) {
	keys := rapid.OneOf(rapid.SampledFrom([]string{testKey(1).String(), testKey(2).String(), testKey(2).String() + "\n"}), rapid.String())
	names := rapid.OneOf(rapid.SampledFrom([]string{v1alpha1.NodeKeyName(testKey(1)), v1alpha1.NodeKeyName(testKey(2))}), rapid.String())
	nodes := rapid.OneOf(rapid.SampledFrom([]string{"n1", "n2", ""}), rapid.String())
	name, key, node := names.Draw(t, "name"), keys.Draw(t, "key"), nodes.Draw(t, "node")
	if name == v1alpha1.NodeKeyName(testKey(1)) {
		return // The API server lets the holder's own object be there but once.
	}
	var set keySet
	set.set(nodeKey(testKey(1), "n1"))
	set.set(&v1alpha1.NodeKey{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.NodeKeySpec{PublicKey: key, NodeName: node}})
	if holder := set.of(testKey(1)); holder != "n1" {
		t.Fatalf("%q of %q by %q: the key is held by %q", name, key, node, holder)
	}
	parsed, err := identity.ParsePublicKey(key)
	named := err == nil && v1alpha1.NodeKeyName(parsed) == name
	if holder := set.of(parsed); err == nil && (holder == node) != (named || node == "") && parsed != testKey(1) {
		t.Fatalf("%q of %q by %q: held by %q", name, key, node, holder)
	}
	set.remove(name)
	if holder := set.of(testKey(1)); holder != "n1" {
		t.Fatalf("when %q is gone the key is held by %q", name, holder)
	}
}
