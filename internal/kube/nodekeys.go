package kube

import (
	"sync"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
)

// keySet is all NodeKeys that say what their names do: who holds which public key.
type keySet struct {
	mu     sync.Mutex // guards all below
	byName map[string]identity.PublicKey
	holder map[identity.PublicKey]string
}

// set says whether anybody holds another key now. A NodeKey whose name is not its key's counts for nothing: by its name alone the
// API server lets a key be held once. One that is being deleted still counts.
func (s *keySet) set(k *v1alpha1.NodeKey) bool {
	key, err := identity.ParsePublicKey(k.Spec.PublicKey)
	if err != nil || v1alpha1.NodeKeyName(key) != k.Name {
		return s.remove(k.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if holder, ok := s.holder[key]; ok && holder == k.Spec.NodeName {
		return false
	}
	if s.holder == nil {
		s.byName, s.holder = map[string]identity.PublicKey{}, map[identity.PublicKey]string{}
	}
	s.byName[k.Name], s.holder[key] = key, k.Spec.NodeName
	return true
}

func (s *keySet) remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.byName[name]
	delete(s.byName, name)
	delete(s.holder, key)
	return ok
}

// of is the name of the Node that holds a key; empty where none does.
func (s *keySet) of(key identity.PublicKey) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holder[key]
}
