package kube

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/mesh"
)

// poolSet is all IPPools.
type poolSet struct {
	mu sync.Mutex // guards all below
	// sound are those that can be read, and unsound why the others cannot.
	sound   map[string]ipam.Pool
	unsound map[string]string
	status  map[string]heardStatus
	// view is what follows from them; nil where that is not known yet.
	view *poolView
}

// heardStatus is a pool's status, and when it was heard of last that it changed.
type heardStatus struct {
	v1alpha1.IPPoolStatus
	at time.Time
}

// poolView is the pools that count. It is never changed.
type poolView struct {
	byName map[string]ipam.Pool
	sorted []ipam.Pool
	// refusals are of the others.
	refusals []mesh.Refusal
}

// set says whether a pool is another now; its status alone is no change.
func (s *poolSet) set(p *v1alpha1.IPPool) bool {
	pool, err := readPool(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sound == nil {
		s.sound, s.unsound, s.status = map[string]ipam.Pool{}, map[string]string{}, map[string]heardStatus{}
	}
	if heard, ok := s.status[p.Name]; !ok || heard.IPPoolStatus != p.Status {
		s.status[p.Name] = heardStatus{p.Status, time.Now()}
	}
	old, had := s.sound[p.Name]
	switch {
	case err != nil && s.unsound[p.Name] == err.Error(), err == nil && had && equalPools(old, pool):
		return false
	case err != nil:
		delete(s.sound, p.Name)
		s.unsound[p.Name] = err.Error()
	default:
		delete(s.unsound, p.Name)
		s.sound[p.Name] = pool
	}
	s.view = nil
	return true
}

func (s *poolSet) remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.sound) + len(s.unsound)
	delete(s.sound, name)
	delete(s.unsound, name)
	delete(s.status, name)
	s.view = nil
	return len(s.sound)+len(s.unsound) != before
}

// snapshot is the pools that count now.
func (s *poolSet) snapshot() *poolView {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view != nil {
		return s.view
	}
	view := &poolView{byName: map[string]ipam.Pool{}}
	var overlaps []ipam.Overlap
	view.sorted, overlaps = ipam.Apart(slices.Collect(maps.Values(s.sound)))
	for _, p := range view.sorted {
		view.byName[p.Name] = p
	}
	for _, o := range overlaps {
		view.refusals = append(view.refusals, mesh.Refusal{Reason: mesh.Overlap, Detail: fmt.Sprintf("IPPool %s: %s", o.Pool, o.Why)})
	}
	for _, name := range slices.Sorted(maps.Keys(s.unsound)) {
		view.refusals = append(view.refusals, mesh.Refusal{Reason: mesh.Malformed, Detail: fmt.Sprintf("IPPool %s: %s", name, s.unsound[name])})
	}
	s.view = view
	return view
}

// miscounted are the new statuses of those pools whose own says something else, and has not changed for a while.
func (s *poolSet) miscounted(blocks []ipam.Block, quiet time.Duration) map[string]v1alpha1.IPPoolStatus {
	view := s.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	var wrong map[string]v1alpha1.IPPoolStatus
	for name, count := range ipam.Counts(view.sorted, blocks) {
		status, heard := v1alpha1.IPPoolStatus(count), s.status[name]
		if status == heard.IPPoolStatus || time.Since(heard.at) < quiet {
			continue
		}
		if wrong == nil {
			wrong = map[string]v1alpha1.IPPoolStatus{}
		}
		wrong[name] = status
	}
	return wrong
}

// readPool holds a pool to what its schema says, too: it may be older than that.
func readPool(p *v1alpha1.IPPool) (ipam.Pool, error) {
	cidr, err := netip.ParsePrefix(p.Spec.CIDR)
	if err != nil || cidr != cidr.Masked() || cidr.Addr().Is4In6() {
		return ipam.Pool{}, fmt.Errorf("spec.cidr: %.64q is not a network in its canonical form, like 10.64.0.0/16 or fd00:64::/48", p.Spec.CIDR)
	}
	if size := int(p.Spec.BlockSize); size < cidr.Bits() || size > cidr.Addr().BitLen()-2 {
		return ipam.Pool{}, fmt.Errorf("spec.blockSize: %d is not between %d and %d", size, cidr.Bits(), cidr.Addr().BitLen()-2)
	}
	nodes, err := readSelector("spec.nodeSelector", cmp.Or(p.Spec.NodeSelector, &metav1.LabelSelector{}))
	if err != nil {
		return ipam.Pool{}, err
	}
	var namespaces labels.Selector
	if p.Spec.NamespaceSelector != nil {
		if namespaces, err = readSelector("spec.namespaceSelector", p.Spec.NamespaceSelector); err != nil {
			return ipam.Pool{}, err
		}
	}
	allows := func(use v1alpha1.IPPoolUse) bool {
		return len(p.Spec.AllowedUses) == 0 || slices.Contains(p.Spec.AllowedUses, use)
	}
	return ipam.Pool{
		Name: p.Name, CIDR: cidr, BlockSize: int(p.Spec.BlockSize), Created: p.CreationTimestamp.Time, UID: string(p.UID),
		Nodes: nodes, Namespaces: namespaces, NATOutgoing: p.Spec.NATOutgoing == nil || *p.Spec.NATOutgoing, Disabled: p.Spec.Disabled,
		Pods: allows(v1alpha1.UsePods), MeshAddresses: allows(v1alpha1.UseMeshAddresses),
	}, nil
}

func readSelector(field string, selector *metav1.LabelSelector) (labels.Selector, error) {
	read, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return read, nil
}

// equalPools says whether two pools are the same in all that is read of them.
func equalPools(a, b ipam.Pool) bool {
	same := func(a, b labels.Selector) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	}
	if !same(a.Nodes, b.Nodes) || !same(a.Namespaces, b.Namespaces) || !a.Created.Equal(b.Created) {
		return false
	}
	// Selectors cannot be compared by ==, not even with themselves.
	a.Nodes, a.Namespaces, a.Created, b.Nodes, b.Namespaces = nil, nil, b.Created, nil, nil
	return a == b
}
