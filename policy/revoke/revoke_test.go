package revoke

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/warren-mesh/warren/policy"
)

// kernel is both sides at once: what conntrack knows, and what is kept from passing.
type kernel struct {
	flows, revoked []policy.Flow
	fail           error
	listed         int
}

var (
	_ Rules = (*kernel)(nil)
	_ Flows = (*kernel)(nil)
)

func (k *kernel) Revoke(f []policy.Flow) error {
	k.revoked = append(k.revoked, f...)
	return k.fail
}

func (k *kernel) Restore(f []policy.Flow) error {
	k.revoked = slices.DeleteFunc(k.revoked, func(one policy.Flow) bool { return slices.Contains(f, one) })
	return nil
}

func (k *kernel) Revoked() []policy.Flow { return slices.Clone(k.revoked) }

func (k *kernel) List(of map[netip.Addr]struct{}, want func(policy.Flow) bool) (out []policy.Tracked, err error) {
	k.listed++
	for _, f := range k.flows {
		_, from := of[f.From.Addr()]
		_, to := of[f.To.Addr()]
		if (of == nil || from || to) && want(f) {
			out = append(out, policy.Tracked{Flow: f, Entry: f.From.String()})
		}
	}
	return out, nil
}

func (k *kernel) Delete(all []policy.Tracked) error {
	for _, f := range all {
		k.flows = slices.DeleteFunc(k.flows, func(one policy.Flow) bool { return one == f.Flow && f.Entry == one.From.String() })
	}
	return nil
}

const pod, peer, node = "10.0.0.5", "10.1.0.7", "192.168.0.1"

func flow(from, to string) policy.Flow {
	return policy.Flow{
		Protocol: policy.TCP,
		From:     netip.AddrPortFrom(netip.MustParseAddr(from), 4000),
		To:       netip.AddrPortFrom(netip.MustParseAddr(to), 80),
	}
}

func member(a string) policy.Member { return policy.Member{Address: netip.MustParseAddr(a)} }

// rules let peers in, and nobody else, and refuse what is for a refused one.
func rules(peers, refused []string) policy.Ruleset {
	set := func(name string, all []string) policy.Set {
		s := policy.Set{Name: name, Kind: policy.Addresses4, Members: map[policy.Member]struct{}{}}
		for _, a := range all {
			s.Members[member(a)] = struct{}{}
		}
		return s
	}
	return policy.Ruleset{
		Sets: map[string]policy.Set{"peers": set("peers", peers), "refused": set("refused", refused)},
		Chains: map[string]policy.Chain{
			"in":   {Name: "in", Rules: []policy.Rule{{Peer: "peers", Verdict: policy.Accept}, {Verdict: policy.Deny}}},
			"out":  {Name: "out", Direction: policy.Egress, Rules: []policy.Rule{{Peer: "refused", Verdict: policy.Deny}}},
			"host": {Name: "host", Direction: policy.Egress, Rules: []policy.Rule{{Verdict: policy.Deny}}},
		},
		Pods: map[string]policy.Binding{"wrp1": {Interface: "wrp1", Addresses: []netip.Addr{netip.MustParseAddr(pod)}, Ingress: "in", Egress: "out", Host: "host"}},
	}
}

// TestAfter tells what each delta makes of the flows that there are.
func TestAfter(t *testing.T) {
	fromPeer, toPeer, fromNode, toNode, others := flow(peer, pod), flow(pod, peer), flow(node, pod), flow(pod, node), flow(peer, "10.1.0.8")
	one := func(set, a string) map[string][]policy.Member { return map[string][]policy.Member{set: {member(a)}} }
	for name, c := range map[string]struct {
		delta       policy.Delta
		gone        []netip.Addr
		now         policy.Ruleset
		flows       []policy.Flow
		revoked     []policy.Flow
		want        Result
		wantRevoked []policy.Flow
		listed      int
	}{
		"nothing changed":          {now: rules(nil, nil), flows: []policy.Flow{fromPeer}},
		"an allowed peer went":     {policy.Delta{MembersRemoved: one("peers", peer)}, nil, rules(nil, nil), []policy.Flow{fromPeer, toPeer, fromNode, others}, nil, Result{Revoked: 1}, []policy.Flow{fromPeer}, 1},
		"another peer went":        {policy.Delta{MembersRemoved: one("peers", "10.9.9.9")}, nil, rules(nil, nil), []policy.Flow{fromPeer}, nil, Result{}, nil, 1},
		"an allowed peer came":     {policy.Delta{MembersAdded: one("peers", peer)}, nil, rules([]string{peer}, nil), []policy.Flow{fromPeer}, []policy.Flow{fromPeer}, Result{Restored: 1}, nil, 0},
		"a refused peer came":      {policy.Delta{MembersAdded: one("refused", peer)}, nil, rules([]string{peer}, []string{peer}), []policy.Flow{fromPeer, toPeer}, nil, Result{Revoked: 1}, []policy.Flow{toPeer}, 1},
		"a pod has other chains":   {policy.Delta{PodsSet: []policy.Binding{rules(nil, nil).Pods["wrp1"]}}, nil, rules(nil, nil), []policy.Flow{fromPeer, toPeer, fromNode, toNode, others}, nil, Result{Revoked: 2}, []policy.Flow{fromPeer, toNode}, 1},
		"a revoked one stays so":   {policy.Delta{MembersAdded: one("peers", peer)}, nil, rules(nil, nil), nil, []policy.Flow{fromPeer}, Result{}, []policy.Flow{fromPeer}, 0},
		"its pod is gone":          {policy.Delta{PodsRemoved: []string{"wrp1"}}, []netip.Addr{netip.MustParseAddr(pod)}, policy.Ruleset{}, nil, []policy.Flow{fromPeer, others}, Result{Restored: 1}, []policy.Flow{others}, 0},
		"one that was also opened": {policy.Delta{MembersAdded: one("peers", peer)}, nil, rules([]string{peer}, []string{peer}), nil, []policy.Flow{fromPeer, toPeer}, Result{Restored: 1}, []policy.Flow{toPeer}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := &kernel{flows: c.flows, revoked: c.revoked}
			v := New(k, k)
			for _, chain := range c.now.Chains {
				v.learn(chain)
			}
			if told := v.After(c.delta, c.gone); told == (len(c.flows) == 1 && c.delta.Empty()) {
				t.Errorf("there is something to settle: %v", told)
			}
			got, err := v.Settle(of(c.now))
			if got.Listing = 0; err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
			if d := cmp.Diff(c.wantRevoked, k.revoked, cmpopts.EquateEmpty(), cmpopts.EquateComparable(policy.Flow{})); d != "" {
				t.Errorf("revoked (-want +got):\n%s", d)
			}
			if k.listed != c.listed {
				t.Errorf("conntrack was listed %d times, want %d", k.listed, c.listed)
			}
			if slices.ContainsFunc(k.flows, func(f policy.Flow) bool { return slices.Contains(k.revoked, f) && c.want.Revoked > 0 }) {
				t.Errorf("conntrack still knows of %v", k.flows)
			}
		})
	}
}

func of(rules policy.Ruleset) func() (State, error) {
	return func() (State, error) { return State{Rules: rules, Node: []netip.Addr{netip.MustParseAddr(node)}}, nil }
}

// TestAll judges everything, whatever changed.
func TestAll(t *testing.T) {
	k := &kernel{flows: []policy.Flow{flow(peer, pod), flow(pod, peer)}, revoked: []policy.Flow{flow(pod, "10.1.0.9")}}
	v := New(k, k)
	v.All(rules(nil, nil))
	got, err := v.Settle(of(rules(nil, nil)))
	if got.Listing = 0; err != nil || got != (Result{Revoked: 1, Restored: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestCoalesced: what changes before there is time is one look.
func TestCoalesced(t *testing.T) {
	k := &kernel{flows: []policy.Flow{flow(peer, pod), flow("10.1.0.8", pod), flow("10.1.0.9", pod)}}
	v := New(k, k)
	for _, gone := range []string{peer, "10.1.0.8"} {
		v.After(policy.Delta{MembersRemoved: map[string][]policy.Member{"peers": {member(gone)}}}, nil)
	}
	got, err := v.Settle(of(rules(nil, nil)))
	if got.Listing = 0; err != nil || got != (Result{Revoked: 2}) || k.listed != 1 {
		t.Errorf("%+v, %v, listed %d times", got, err, k.listed)
	}
	if got, err := v.Settle(nil); err != nil || got != (Result{}) || k.listed != 1 {
		t.Errorf("with nothing to settle: %+v, %v, listed %d times", got, err, k.listed)
	}
}

// TestEitherOpened: of a flow of which nobody knows who opened it, both ways have to be allowed.
func TestEitherOpened(t *testing.T) {
	there, back := flow(pod, peer), flow(pod, peer).Back()
	for name, c := range map[string]struct {
		now  policy.Ruleset
		want int
	}{"one way": {rules(nil, nil), 0}, "both ways": {rules([]string{peer}, nil), 2}} {
		k := &kernel{revoked: []policy.Flow{there, back}}
		v := New(k, k)
		v.All(c.now)
		if got, err := v.Settle(of(c.now)); err != nil || got.Restored != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestKept is a flow that could not be kept from passing: conntrack keeps it, and it is found again, with no other change.
func TestKept(t *testing.T) {
	k := &kernel{flows: []policy.Flow{flow(peer, pod)}, fail: errors.New("no")}
	v := New(k, k)
	v.After(policy.Delta{MembersRemoved: map[string][]policy.Member{"peers": {member(peer)}}}, nil)
	if got, err := v.Settle(of(rules(nil, nil))); err == nil || got.Revoked != 0 || len(k.flows) != 1 {
		t.Errorf("%+v, %v, left %v", got, err, k.flows)
	}
	failing := func() (State, error) { return State{}, errors.New("not now") }
	if got, err := v.Settle(failing); err == nil || got.Revoked != 0 || len(k.flows) != 1 {
		t.Errorf("without a state: %+v, %v, left %v", got, err, k.flows)
	}
	k.fail, k.revoked = nil, nil
	if got, err := v.Settle(of(rules(nil, nil))); err != nil || got.Revoked != 1 || len(k.flows) != 0 {
		t.Errorf("%+v, %v, left %v", got, err, k.flows)
	}
}
