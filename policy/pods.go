package policy

import (
	"maps"
	"net/netip"
	"slices"
)

// owner is what has addresses, and perhaps named ports at them.
type owner struct {
	addresses []netip.Addr
	ports     []NamedPort
}

// pod is a Pod, or one that is gone but for an interface.
type pod struct {
	Pod
	owner
	class *class // nil for pods in their node's network
	gone  bool
	wired bool // among everyLocal
}

// SetPod adds or changes a pod.
func (x *Index) SetPod(p Pod) {
	known := x.pods[p.PodKey]
	if known == nil {
		known = &pod{gone: true}
		x.pods[p.PodKey] = known
	} else if !known.gone && known.same(p) {
		return
	}
	x.place(known, p, false)
}

func (p *pod) same(q Pod) bool {
	return p.HostNetwork == q.HostNetwork && p.Here == q.Here && slices.Equal(p.Addresses, q.Addresses) && slices.Equal(p.Ports, q.Ports) &&
		maps.Equal(p.Labels, q.Labels)
}

// DeletePod makes the pod nobody's peer. What its interface is bound to stays until that goes too.
func (x *Index) DeletePod(k PodKey) {
	if known := x.pods[k]; known != nil && !known.gone {
		x.place(known, known.Pod, true)
	}
}

// place puts a pod where it belongs: into a class, and into the sets that its class is a member of.
func (x *Index) place(p *pod, as Pod, gone bool) {
	old, interfaces := p.class, x.localsOf[as.PodKey]
	var next *class
	if !as.HostNetwork && (!gone || len(interfaces) > 0) {
		next = x.classOf(as.Namespace, as.Labels)
		as.Labels = next.labels // Pods of a class share them.
	}
	x.withdraw(p)
	p.Pod, p.gone, p.class = as, gone, next
	p.addresses, p.ports = x.addressesOf(as), as.Ports
	x.enter(p)
	if old != nil && len(old.locals) == 0 {
		x.discharge(old)
	}
	x.tidyClass(old)
	for name := range interfaces {
		x.staleLocals[name] = struct{}{}
	}
	if gone && len(interfaces) == 0 {
		delete(x.pods, as.PodKey)
	}
}

// addressesOf are a pod's own, each once.
func (x *Index) addressesOf(p Pod) []netip.Addr {
	interfaces := x.localsOf[p.PodKey]
	if len(interfaces) == 0 && len(p.Addresses) < 2 {
		return p.Addresses
	}
	all := slices.Clone(p.Addresses)
	for name := range interfaces {
		all = append(all, x.locals[name].Addresses...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// enter makes a pod a member of whatever selects it.
func (x *Index) enter(p *pod) {
	if p.class == nil {
		return
	}
	if !p.gone {
		p.class.pods[p] = struct{}{}
		for s := range p.class.selectors {
			s.add(&p.owner)
		}
	}
	p.wired = len(x.localsOf[p.PodKey]) > 0
	if s := x.selectors[localSelector]; p.wired && s != nil {
		s.add(&p.owner)
	}
	if !p.wired && (!p.Here || p.gone) {
		return
	}
	p.class.locals[p] = struct{}{}
	if _, known := x.localClasses[p.class]; !known {
		x.enlist(p.class)
	}
}

// withdraw undoes enter.
func (x *Index) withdraw(p *pod) {
	if p.class == nil {
		return
	}
	if !p.gone {
		delete(p.class.pods, p)
		for s := range p.class.selectors {
			s.remove(&p.owner)
		}
	}
	delete(p.class.locals, p)
	if s := x.selectors[localSelector]; p.wired && s != nil {
		s.remove(&p.owner)
	}
	p.wired = false
}
