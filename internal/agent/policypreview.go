package agent

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/conntrack"
)

// previewInterval is how often flows are looked at where a policy is previewed. A look takes no more than a previewShare of the time, and judges no
// more than previewMost flows that it has not judged: judging is by the specification's words, and slow.
const (
	previewInterval = 2 * time.Second
	previewShare    = 20
	previewMost     = 2000
)

// preview counts what previewed policies would cut.
type preview struct {
	loop    *loop.Runner
	problem problem
	took    time.Duration
	seed    maphash.Seed
	// seen are the flows that were judged, by their hash. Only the loop uses it.
	seen map[uint64]struct{}
}

// openPreview makes the loop, which looks at nothing while no policy is previewed.
func (a *Agent) openPreview() {
	p := &a.enforcement.preview
	p.seed = maphash.MakeSeed()
	p.loop = loop.New(func(context.Context) error {
		start := time.Now()
		defer func() { p.took = time.Since(start) }()
		return a.countPreviews()
	}, loop.Options{
		Min: previewInterval, Max: previewInterval, MinNow: func() time.Duration { return max(previewInterval, previewShare*p.took) },
		OnResult: func(_ time.Duration, err error) {
			switch began, ended := p.problem.update(err); {
			case began:
				a.logger.Warn("what previewed policies would cut is not counted; retrying", zap.Error(err))
			case ended:
				a.logger.Info("what previewed policies would cut is counted again")
			}
		},
	})
}

// countPreviews judges the flows that are new since the last look. Those that began before there was a previewed policy are new to the first.
func (a *Agent) countPreviews() error {
	p, e := &a.enforcement.preview, &a.enforcement
	objects, err := e.heardPolicies()
	if err != nil || !objects.Previewed() {
		clear(p.seen)
		return nil //nolint:nilerr // there is nothing to preview yet
	}
	here, err := a.surroundings()
	if err != nil {
		return err
	}
	flows, err := here.flows()
	if err != nil {
		return err
	}
	fresh, seen := make([]policy.Flow, 0), make(map[uint64]struct{}, len(flows))
	for _, f := range flows {
		hash := maphash.Comparable(p.seed, f)
		if _, known := p.seen[hash]; !known {
			fresh = append(fresh, f)
		}
		seen[hash] = struct{}{}
	}
	p.seen = seen
	unjudged := max(0, len(fresh)-previewMost)
	e.metrics.previewFlows.WithLabelValues("not judged").Add(float64(unjudged))
	fresh = fresh[unjudged:]
	e.metrics.previewFlows.WithLabelValues("judged").Add(float64(len(fresh)))
	if len(fresh) == 0 {
		return nil
	}
	previews, _, err := e.previewOf(here, fresh)
	if err != nil {
		return err
	}
	for _, p := range previews {
		e.metrics.wouldDeny.WithLabelValues(kindOf(p.Namespace), p.Namespace, p.Policy).Add(float64(here.cut(p)))
	}
	return nil
}

// cut is how many flows a policy would cut at pods of this node. Those at others' are counted there.
func (s surroundings) cut(p policy.Preview) int {
	flows := map[policy.Connection]bool{}
	for _, c := range p.Cuts {
		subject := c.From
		if c.Direction == policy.Ingress {
			subject = c.To
		}
		if _, local := s.local[subject]; local {
			flows[c.Connection] = true
		}
	}
	return len(flows)
}

// kindOf is the kind of a policy.
func kindOf(namespace string) string {
	if namespace == "" {
		return string(kube.ClusterPolicyKind)
	}
	return string(kube.NetworkPolicyKind)
}

// previewOf judges flows by the policies that are not enforced, and names the pods that they are between.
func (e *enforcement) previewOf(here surroundings, flows []policy.Flow) ([]policy.Preview, map[netip.Addr]string, error) {
	ends := make(map[netip.Addr]bool, len(flows))
	connections := make([]policy.Connection, 0, len(flows))
	for _, f := range flows {
		from, to := f.From.Addr(), f.To.Addr()
		ends[from], ends[to] = true, true
		connections = append(connections, policy.Connection{Packet: f.Packet(), FromPort: f.From.Port(), Host: here.between(from, to) || here.between(to, from)})
	}
	e.asking.Lock()
	defer e.asking.Unlock()
	w, err := e.world(func(p policy.Pod) bool {
		return slices.ContainsFunc(p.Addresses, func(a netip.Addr) bool { return ends[a] })
	})
	if err != nil {
		return nil, nil, err
	}
	return w.Preview(connections), namesOf(w), nil
}

// namesOf are the pods of a world by their addresses.
func namesOf(w policy.World) map[netip.Addr]string {
	names := map[netip.Addr]string{}
	for _, p := range w.Pods {
		for _, a := range p.Addresses {
			if !p.HostNetwork {
				names[a] = p.String()
			}
		}
	}
	return names
}

// between says whether one address is the node's and the other that of a pod of it.
func (s surroundings) between(node, pod netip.Addr) bool {
	_, local := s.local[pod]
	return local && slices.Contains(s.node, node)
}

// flows are those that conntrack knows from or to pods of the node.
func (s surroundings) flows() ([]policy.Flow, error) {
	tracker, err := conntrack.New()
	if err != nil {
		return nil, err
	}
	defer tracker.Close()
	tracked, err := tracker.List(nil, func(f policy.Flow) bool {
		_, from := s.local[f.From.Addr()]
		_, to := s.local[f.To.Addr()]
		return from || to
	})
	if err != nil {
		return nil, err
	}
	flows := make([]policy.Flow, len(tracked))
	for i, t := range tracked {
		flows[i] = t.Flow
	}
	return flows, nil
}

// PreviewPolicy implements socket.Backend.
func (a *Agent) PreviewPolicy() (socket.Previews, error) {
	e := &a.enforcement
	if _, err := e.heardPolicies(); err != nil {
		return socket.Previews{}, err
	}
	here, err := a.surroundings()
	if err != nil {
		return socket.Previews{}, err
	}
	flows, err := here.flows()
	if err != nil {
		return socket.Previews{}, err
	}
	out := socket.Previews{Node: a.config.NodeName, Flows: len(flows), Unjudged: max(0, len(flows)-previewMost), Policies: []socket.Preview{}}
	previews, names, err := e.previewOf(here, flows[out.Unjudged:])
	if err != nil {
		return socket.Previews{}, fmt.Errorf("judging flows: %w", err)
	}
	for _, p := range previews {
		told := socket.Preview{Kind: kindOf(p.Namespace), Namespace: p.Namespace, Policy: p.Policy, Cuts: []socket.Cut{}}
		for _, c := range p.Cuts {
			told.Cuts = append(told.Cuts, socket.Cut{
				From: socket.End{Pod: names[c.From], Address: c.From, Port: c.FromPort}, To: socket.End{Pod: names[c.To], Address: c.To, Port: c.Port},
				Protocol: c.Protocol.String(), Direction: c.Direction.String(), Pod: c.Pod.String(), Rule: ruleOf(c.By),
			})
		}
		out.Policies = append(out.Policies, told)
	}
	return out, nil
}
