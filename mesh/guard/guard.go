package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// Guard holds one mesh.Guard in the kernel, in the network namespace in which it was made. It is safe for concurrent use.
type Guard struct {
	// mu guards all below: the socket is one conversation.
	mu   sync.Mutex
	conn *nft.Conn
	// held is what the kernel holds as far as we know, but for pods; nil when that has to be read.
	held *nft.Table
	// pods are those whose hardware addresses are known.
	pods pods
	// accepted says that the accepts in others' chains were seen to be as they should for the lanes in held.
	accepted bool

	// queue guards queued: changes of pods that wait for mu. It is taken with mu, or alone.
	queue  sync.Mutex
	queued []*podChange

	onMessage func(n int)
}

// Options are what a Guard may be given.
type Options struct {
	// OnMessage is told of transactions that changed something. May be nil.
	OnMessage func(n int)
}

// Counters are what was dropped since the table was made. They stay when the agent ends, and start anew only when somebody
// deletes the table.
type Counters struct {
	// Clear is pod traffic stopped from leaving in clear.
	Clear Counter
	// Foreign came with a cluster address over an interface that is neither lane nor pod.
	Foreign Counter
	// PodSpoof is what pods sent under IP or hardware addresses that they were not given.
	PodSpoof Counter
	// Spoofed is what peers sent under addresses of this node, or outside the cluster.
	Spoofed Counter
	// Transit is what peers sent to anything but this node's pods and mesh addresses.
	Transit Counter
	// InClear was let through in clear, in both directions, while the node is migrated.
	InClear Counter
}

// Counter counts packets and the bytes in them, from the IP header on.
type Counter struct{ Packets, Bytes uint64 }

// New makes a guard, which holds nothing before the first Set. It needs CAP_NET_ADMIN.
func New(o Options) (*Guard, error) {
	conn, err := nft.Open()
	if err != nil {
		return nil, fmt.Errorf("making the guard: %w", err)
	}
	if o.OnMessage == nil {
		o.OnMessage = func(int) {}
	}
	return &Guard{conn: conn, onMessage: o.OnMessage}, nil
}

// Close lets go of the kernel. The table stays.
func (g *Guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conn.Close()
}

// Set makes the kernel hold what is wanted: by one transaction, or by none when it already does. There is no moment without rules.
//
// It also lets our interfaces through base chains of others that refuse what they do not know, such as `iptables -P FORWARD DROP`.
// Those are changed by transactions of their own, after ours. An error that is ErrOthers comes from there: the guard itself
// is then in place.
func (g *Guard) Set(want mesh.Guard) error {
	if err := validate(want); err != nil {
		return fmt.Errorf("setting the guard: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	changed, err := g.apply(table(want, g.pods))
	if changed {
		g.onMessage(1)
	}
	if err != nil {
		return fmt.Errorf("setting the guard: %w", err)
	}
	if g.accepted && !changed {
		return nil
	}
	err = g.accept(slices.Concat(want.Lanes, toPods(want)))
	g.accepted = err == nil
	return err
}

// Forget makes the next Set read the kernel, and repair what others changed.
func (g *Guard) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.accepted = nil, false
}

// Watch tells, until ctx ends, that somebody else changed something which may call for Forget and Set. The channel is closed at
// the end, and when the kernel ends the subscription.
func (g *Guard) Watch(ctx context.Context) (<-chan struct{}, error) {
	changed, err := nft.Watch(ctx, mesh.GuardTable, comment)
	if err != nil {
		return nil, fmt.Errorf("watching the guard: %w", err)
	}
	return changed, nil
}

// Counters reads the counters. They are zero when there is no table.
func (g *Guard) Counters() (Counters, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	read, err := g.conn.Counters(nft.INet, mesh.GuardTable)
	if err != nil {
		return Counters{}, fmt.Errorf("reading the guard: %w", err)
	}
	var out Counters
	byName := map[string]*Counter{
		clearText: &out.Clear, foreign: &out.Foreign, podSpoof: &out.PodSpoof, spoofed: &out.Spoofed, transit: &out.Transit, inClear: &out.InClear,
	}
	for _, c := range read {
		if to, ok := byName[c.Name]; ok {
			*to = Counter{Packets: c.Packets, Bytes: c.Bytes}
		}
	}
	return out, nil
}

// apply makes the kernel hold the table.
func (g *Guard) apply(want nft.Table) (changed bool, err error) {
	if g.held != nil {
		held, _ := g.held.WithSets(g.pods.sets()...) // Those follow by themselves.
		if changed, err = g.conn.Apply(&held, want); err == nil {
			g.held = &want
			return changed, nil
		}
		g.held = nil // Somebody changed it under us: look, and try once more.
	}
	have, err := g.conn.Read(want.Family, want.Name)
	if err != nil {
		return false, err
	}
	if changed, err = g.conn.Apply(have, want); err != nil {
		return changed, err
	}
	g.held = &want
	return changed, nil
}

// longestLink is the length of the longest name of a link: IFNAMSIZ without the closing zero.
const longestLink = 15

// validate refuses what would make a rule that says something else than it should.
func validate(g mesh.Guard) error {
	var errs []error
	for _, l := range g.Lanes {
		if l == "" || len(l) > longestLink {
			errs = append(errs, fmt.Errorf("lane %q: an interface name has 1 to %d bytes", l, longestLink))
		}
		if strings.HasPrefix(l, mesh.PodLinkPrefix) { // its peers would be taken for pods
			errs = append(errs, fmt.Errorf("lane %q: what begins with %s is a pod's link", l, mesh.PodLinkPrefix))
		}
		if mesh.NamesLink(g.PodLinks, l) {
			errs = append(errs, fmt.Errorf("lane %q: it is among the pods' links %q", l, g.PodLinks))
		}
	}
	for _, l := range g.PodLinks {
		if name := strings.TrimSuffix(l, "*"); name == "" || len(name) > longestLink || mesh.NamesLink([]string{l}, "lo") {
			errs = append(errs, fmt.Errorf("pods' link %q: a name has 1 to %d bytes, and is not lo's", l, longestLink))
		}
	}
	for _, l := range g.OldLinks {
		if l == "" || len(l) > longestLink || strings.HasSuffix(l, "*") || l == "lo" || slices.Contains(g.Lanes, l) || mesh.NamesLink(toPods(g), l) {
			errs = append(errs, fmt.Errorf("link %q of the network before: a name has 1 to %d bytes, and is no lane's and no pod's", l, longestLink))
		}
	}
	for _, p := range slices.Concat(g.Cluster, g.Own, g.NATExclude, g.NATOff, g.OldTo, g.OldFrom) {
		if !p.IsValid() || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("prefix %s is neither IPv4 nor IPv6", p))
		}
	}
	for _, a := range slices.Concat(g.Mesh, g.Nodes) {
		if !a.IsValid() || a.Is4In6() {
			errs = append(errs, fmt.Errorf("address %s is neither IPv4 nor IPv6", a))
		}
	}
	return errors.Join(errs...)
}
