package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/policy"
)

// bonds are the node's own pods' interfaces: which there are, which of them the kernel has rules for, and who waits for that. It is safe for
// concurrent use.
type bonds struct {
	trigger func()
	// asked says that somebody waited once.
	asked atomic.Bool

	mu sync.Mutex // guards all below
	// locals are the interfaces that there are, and stale those of which the loop has not heard.
	locals map[string]policy.Local
	stale  map[string]struct{}
	// bound is what the kernel holds.
	bound map[string]policy.Binding
	// waiting are closed when the kernel has rules for an interface.
	waiting map[string]chan struct{}
}

// Bind implements pods.Policy.
func (b *bonds) Bind(ctx context.Context, l policy.Local) error {
	ready := b.add(l)
	b.asked.Store(true)
	b.trigger()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the rules of pod %s: %w", l.PodKey, context.Cause(ctx))
	}
}

// Unbind implements pods.Policy.
func (b *bonds) Unbind(link string) {
	b.mu.Lock()
	delete(b.locals, link)
	delete(b.waiting, link)
	b.outdate(link)
	b.mu.Unlock()
	b.trigger()
}

// add makes an interface known, and is closed when there are rules for it.
func (b *bonds) add(l policy.Local) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.locals == nil {
		b.locals = map[string]policy.Local{}
	}
	l.Addresses = slices.SortedFunc(slices.Values(l.Addresses), netip.Addr.Compare)
	b.locals[l.Interface] = l
	b.outdate(l.Interface)
	if b.waiting == nil {
		b.waiting = map[string]chan struct{}{}
	}
	if b.waiting[l.Interface] == nil {
		b.waiting[l.Interface] = make(chan struct{})
	}
	return b.waiting[l.Interface]
}

// outdate has the loop hear of an interface. mu is held.
func (b *bonds) outdate(link string) {
	if b.stale == nil {
		b.stale = map[string]struct{}{}
	}
	b.stale[link] = struct{}{}
}

// change tells the index of the interfaces that it has not heard of.
func (b *bonds) change(x *policy.Index) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for link := range b.stale {
		if l, there := b.locals[link]; there {
			x.SetLocal(l)
		} else {
			x.DeleteLocal(link)
		}
	}
	clear(b.stale)
}

// again binds interfaces of pods that had rules before, by any interface, to those.
func (b *bonds) again(before policy.Ruleset) (d policy.Delta) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[policy.PodKey]policy.Binding{}
	for _, had := range before.Pods {
		known[had.PodKey] = had
	}
	for link := range b.waiting {
		l := b.locals[link]
		had, ok := known[l.PodKey]
		if !ok {
			continue
		}
		if had.Interface, had.Addresses = link, l.Addresses; !same(b.bound[link], l) {
			d.PodsSet = append(d.PodsSet, had)
		}
	}
	return d
}

// hold is told of all that the kernel holds.
func (b *bonds) hold(pods map[string]policy.Binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bound = maps.Clone(pods)
}

// apply is told of what has changed of that.
func (b *bonds) apply(d policy.Delta) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bound == nil {
		b.bound = map[string]policy.Binding{}
	}
	for _, pod := range d.PodsSet {
		b.bound[pod.Interface] = pod
	}
	for _, link := range d.PodsRemoved {
		delete(b.bound, link)
	}
}

// addresses are those of interfaces that the kernel holds rules for.
func (b *bonds) addresses(links []string) (out []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, link := range links {
		out = append(out, b.bound[link].Addresses...)
	}
	return out
}

// podBehind names the pod to which an interface leads; nothing where that is not known.
func (b *bonds) podBehind(link string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l, known := b.locals[link]; known {
		return l.String()
	}
	return ""
}

// release lets those go on whose rules are there.
func (b *bonds) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for link, ready := range b.waiting {
		if same(b.bound[link], b.locals[link]) {
			close(ready)
			delete(b.waiting, link)
		}
	}
}

// same says whether a binding is of that pod, by those addresses among others.
func same(b policy.Binding, l policy.Local) bool {
	return b.Interface == l.Interface && b.PodKey == l.PodKey &&
		!slices.ContainsFunc(l.Addresses, func(a netip.Addr) bool { return !slices.Contains(b.Addresses, a) })
}

// wiredPods makes the pods known that are there, and counts them.
func (a *Agent) wiredPods() (count int, err error) {
	if a.config.Mode == PolicyOnly {
		return a.restoreTheirs(a.enforcement.restored)
	}
	wires, err := podnet.Wires()
	if err != nil {
		return 0, err
	}
	names := map[string]policy.PodKey{}
	if a.residents.leases != nil {
		for _, l := range a.residents.leases.Leases() {
			names[podnet.HostLink(l.Pod.Namespace, l.Pod.Name, l.Interface)] = policy.PodKey{Namespace: l.Pod.Namespace, Name: l.Pod.Name}
		}
	}
	for _, w := range wires {
		key, leased := names[w.Link]
		if !leased { // wired by hand, or by an agent before
			key.Namespace, key.Name = w.Pod()
		}
		a.enforcement.bonds.add(policy.Local{Interface: w.Link, PodKey: key, Addresses: w.Addresses})
	}
	return len(wires), nil
}
