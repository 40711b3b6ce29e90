package policy

import (
	"net/netip"
	"slices"
)

// localSelector is the key of the selector of everyLocal.
var localSelector = ofLocals.String() + "\x00"

// SetLocal adds or changes an interface of this node. It is bound once its pod is known.
func (x *Index) SetLocal(l Local) {
	l.Addresses = slices.Compact(slices.SortedFunc(slices.Values(l.Addresses), netip.Addr.Compare))
	old, known := x.locals[l.Interface]
	if known && old.PodKey == l.PodKey && slices.Equal(old.Addresses, l.Addresses) {
		return
	}
	x.locals[l.Interface] = l
	if known && old.PodKey != l.PodKey {
		x.unname(old)
	}
	if x.localsOf[l.PodKey] == nil {
		x.localsOf[l.PodKey] = make(map[string]struct{})
	}
	x.localsOf[l.PodKey][l.Interface] = struct{}{}
	x.staleLocals[l.Interface] = struct{}{}
	x.replace(l.PodKey)
}

// DeleteLocal forgets an interface, and its pod where that is gone too.
func (x *Index) DeleteLocal(name string) {
	if old, known := x.locals[name]; known {
		delete(x.locals, name)
		x.staleLocals[name] = struct{}{}
		x.unname(old)
	}
}

// unname takes an interface from its pod.
func (x *Index) unname(l Local) {
	delete(x.localsOf[l.PodKey], l.Interface)
	if len(x.localsOf[l.PodKey]) == 0 {
		delete(x.localsOf, l.PodKey)
	}
	x.replace(l.PodKey)
}

// replace puts a pod where it belongs after its interfaces changed.
func (x *Index) replace(k PodKey) {
	if p := x.pods[k]; p != nil {
		x.place(p, p.Pod, p.gone)
	}
}

// binding is what an interface should be bound to at present; there is none before its pod is known.
func (x *Index) binding(name string) (Binding, bool) {
	l, known := x.locals[name]
	if !known {
		return Binding{}, false
	}
	p := x.pods[l.PodKey]
	if p == nil || p.class == nil || p.class.bundle == nil {
		return Binding{}, false
	}
	b := Binding{Interface: name, PodKey: l.PodKey, Addresses: l.Addresses}
	b.Ingress, b.Egress, b.Host = p.class.bundle.names()
	return b, true
}
