package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/mesh/route"
	"github.com/warren-mesh/warren/policy"
)

// The node's links are looked at when one of them changes, and every theirsInterval. A pod whose link is not found for theirsPatience is told of: one
// that is about to go has none for a moment.
const (
	theirsMin      = 200 * time.Millisecond
	theirsInterval = 10 * time.Second
	theirsPatience = 8 * time.Second
)

// theirs are this node's pods that another plugin gave their network, with PolicyOnly: which link leads to which, and on which pods policy is not
// enforced because that is not known. A link is its pod's for as long as it is there: an ADD binds it, and where there was none, what the routes
// say.
type theirs struct {
	leads   *podnet.Leads
	disk    *checkpoint.LinkStore
	loop    *loop.Runner
	problem problem
	// version is that of the pods at the last look, and synced says that they have been looked for once. Only enforcement's loop uses both.
	version uint64
	synced  bool

	mu    sync.Mutex // guards all below
	links map[string]checkpoint.PodLink
	// former are links that had rules when the agent was here last, until it was looked whose they are now.
	former []string
	// loose are the pods on which policy is not enforced.
	loose map[policy.PodKey]loosePod
}

// loosePod says why policy is not enforced on a pod, and since when; told, that this was said.
type loosePod struct {
	kube.PodHere
	why   string
	since time.Time
	told  bool
}

// openTheirs reads which links are whose. Those that are there no more are forgotten by the first look.
func (a *Agent) openTheirs() (err error) {
	t := &a.theirs
	t.links, t.loose = map[string]checkpoint.PodLink{}, map[policy.PodKey]loosePod{}
	t.loop = loop.New(a.tendTheirs, loop.Options{
		Min: theirsMin, RetryMin: time.Second, RetryMax: theirsInterval, Max: theirsInterval, OnResult: func(_ time.Duration, err error) {
			switch began, ended := t.problem.update(err); {
			case began:
				a.logger.Error("which links lead to the pods is not known whole; retrying", zap.Error(err))
			case ended:
				a.logger.Info("which links lead to the pods is known again")
			}
		},
	})
	if t.leads, err = podnet.NewLeads(); err != nil {
		return err
	}
	t.disk = checkpoint.NewLinks(a.config.StateDir, a.config.NodeName)
	saved, err := t.disk.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.logger.Warn("the pods' links on disk are not used; they are looked for", zap.Error(err))
	}
	there, err := t.leads.Links()
	if err != nil {
		return err
	}
	for _, l := range saved {
		if there[l.Interface] == l.Index {
			t.links[l.Interface] = l
			a.enforcement.bonds.add(l.Local)
		}
	}
	return nil
}

func (t *theirs) close() {
	if t.leads != nil {
		t.leads.Close()
	}
}

// restoreTheirs has the kernel know the links that are known, and those that had rules when the agent was here last: until it is known whose they are now
// nothing passes by them but what passed then.
func (a *Agent) restoreTheirs(before policy.Ruleset) (count int, err error) {
	t := &a.theirs
	t.mu.Lock()
	defer t.mu.Unlock()
	t.former = slices.Collect(maps.Keys(before.Pods))
	return len(t.links), a.enforcement.table.SetLinks(t.all())
}

// bindTheirs makes a link a pod's, and returns when the kernel has the rules.
func (a *Agent) bindTheirs(ctx context.Context, lead podnet.Lead, l policy.Local) error {
	if err := a.takeTheirs(checkpoint.PodLink{Local: l, Index: lead.Index}); err != nil {
		return err
	}
	return a.enforcement.bonds.Bind(ctx, l)
}

// takeTheirs keeps a link on disk and in the kernel.
func (a *Agent) takeTheirs(l checkpoint.PodLink) error {
	t := &a.theirs
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links[l.Interface] = l
	delete(t.loose, l.PodKey)
	return a.keepTheirs()
}

// keepTheirs brings the links to disk and kernel. mu is held.
func (a *Agent) keepTheirs() error {
	t := &a.theirs
	return errors.Join(t.disk.Save(slices.Collect(maps.Values(t.links))), a.enforcement.table.SetLinks(t.all()))
}

// all are the links that lead to pods. mu is held.
func (t *theirs) all() []string { return slices.AppendSeq(slices.Clone(t.former), maps.Keys(t.links)) }

// tendTheirs forgets links that are gone, and finds those of pods that no ADD has told of.
func (a *Agent) tendTheirs(context.Context) error {
	t := &a.theirs
	t.mu.Lock()
	defer t.mu.Unlock()
	there, err := t.leads.Links() // which has all those that are known: they were there before they were
	if err != nil {
		return err
	}
	for name, l := range t.links {
		if there[name] != l.Index {
			delete(t.links, name)
			a.enforcement.bonds.Unbind(name)
		}
	}
	objects := a.enforcement.objects.Load()
	if objects == nil || !objects.Synced() {
		return nil
	}
	pods, _ := objects.Here()
	a.findTheirs(pods, time.Now())
	t.former = nil
	return a.keepTheirs()
}

// findTheirs looks for the links of pods. mu is held.
func (a *Agent) findTheirs(pods []kube.PodHere, now time.Time) {
	t := &a.theirs
	bound := make(map[policy.PodKey]bool, len(t.links))
	for _, l := range t.links {
		bound[l.PodKey] = true
	}
	before := t.loose
	t.loose = map[policy.PodKey]loosePod{}
	for _, p := range pods {
		lead, err := t.leads.To(p.Addresses, nil)
		if err == nil {
			err = a.claimTheirs(p, lead)
		}
		if err == nil {
			continue
		}
		loose := loosePod{PodHere: p, why: err.Error(), since: now}
		if was, had := before[p.PodKey]; had && was.UID == p.UID {
			loose.since, loose.told = was.since, was.told && was.why == loose.why
		}
		if !loose.told && now.Sub(loose.since) >= theirsPatience {
			loose.told = true
			a.tellLoose(loose, bound[p.PodKey])
		}
		t.loose[p.PodKey] = loose
	}
}

// claimTheirs makes the link that leads to a pod its own, unless it is so already. mu is held.
func (a *Agent) claimTheirs(p kube.PodHere, lead podnet.Lead) error {
	t := &a.theirs
	held, is := t.links[lead.Link]
	if is && held.PodKey != p.PodKey {
		return fmt.Errorf("link %s leads to it, and to pod %s", lead.Link, held.PodKey)
	}
	addrs := slices.Clone(held.Addresses)
	for _, a := range p.Addresses {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == len(held.Addresses) {
		return nil
	}
	l := checkpoint.PodLink{Index: lead.Index, Local: policy.Local{Interface: lead.Link, PodKey: p.PodKey, Addresses: addrs}}
	t.links[lead.Link] = l
	a.enforcement.bonds.add(l.Local)
	a.enforcement.loop.Trigger()
	a.logger.Info("found by the routes which link leads to a pod", zap.Stringer("pod", p.PodKey), zap.String("link", lead.Link),
		zap.Stringers("addresses", addrs))
	return nil
}

// tellLoose tells of a pod on which policy is not enforced.
func (a *Agent) tellLoose(p loosePod, known bool) {
	note := "policy is not enforced on this pod: " + p.why
	if known {
		note = "policy may not be enforced on all that this pod sends and receives: " + p.why
	}
	note += "; start the pod anew once its network is so, with warren-cni chained as a gate"
	a.logger.Warn(note, zap.Stringer("pod", p.PodKey), zap.Stringers("addresses", p.Addresses))
	if events := a.podEvents.Load(); events != nil {
		events.NotPoliced(p.PodHere, note)
	}
}

// looseTexts are the pods that were told of, with the reasons, in order.
func (t *theirs) looseTexts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, p := range t.loose {
		if p.told {
			out = append(out, p.String()+": "+p.why)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// policed is how many links lead to pods on which policy is enforced.
func (t *theirs) policed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.links)
}

// noticeTheirs has the links looked at where the node's pods are others than last time; before the first ruleset at once, so that it has the pods
// that are there.
func (a *Agent) noticeTheirs(ctx context.Context, objects *kube.Policies, synced bool) {
	if a.config.Mode != PolicyOnly {
		return
	}
	t := &a.theirs
	version := objects.HereVersion()
	again := version != t.version
	t.version = version
	if synced && !t.synced {
		t.synced = true
		again = a.tendTheirs(ctx) != nil // which the loop meets, too, and tells of
	}
	if again {
		t.loop.Trigger()
	}
}

// followLinks has the links looked at when any of them changes.
func (a *Agent) followLinks(ctx context.Context) error {
	events, err := route.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watching links and routes: %w", err)
	}
	for range events {
		a.theirs.loop.Trigger()
	}
	return ctx.Err()
}
