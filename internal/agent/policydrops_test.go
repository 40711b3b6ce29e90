package agent

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/drops"
	"github.com/warren-mesh/warren/policy/nft"
)

// TestDropLog keeps the last ones, hands on those after a number, and says how many went.
func TestDropLog(t *testing.T) {
	var d dropLog
	d.open()
	if got, _ := d.after(0); len(got.Drops) != 0 || got.Next != 0 {
		t.Errorf("before the first: %+v", got)
	}
	_, more := d.after(0)
	d.add(make([]socket.Drop, 3))
	select {
	case <-more:
	default:
		t.Error("who waits is not told")
	}
	if got, _ := d.after(1); len(got.Drops) != 2 || got.Drops[0].Number != 2 || got.Next != 3 || got.Gone != 0 {
		t.Errorf("after 1 of 3: %+v", got)
	}
	for range 20 {
		d.add(make([]socket.Drop, 100))
	}
	got, _ := d.after(3)
	if len(got.Drops) != dropsKept || got.Next != 2003 || got.Gone != 1000 || got.Drops[dropsKept-1].Number != 2003 || len(d.kept) != dropsKept {
		t.Errorf("%d of 2003, the last %d, next %d, gone %d", len(got.Drops), got.Drops[len(got.Drops)-1].Number, got.Next, got.Gone)
	}
	if got, _ := d.after(5000); len(got.Drops) != dropsKept || got.Gone != 0 {
		t.Errorf("after one that was never given: %d, gone %d", len(got.Drops), got.Gone)
	}
}

// TestDropsWait answers when there is one, and at the end of its patience without.
func TestDropsWait(t *testing.T) {
	a := &Agent{}
	if _, err := a.Drops(t.Context(), 0); err == nil || err.Error() != errNoPolicy.Error() {
		t.Errorf("without policy: %v", err)
	}
	a.enforcement.table, a.enforcement.drops.fresh = &nft.Table{}, nil
	a.enforcement.drops.open()
	patient, stop := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer stop()
	if got, err := a.Drops(patient, 0); err != nil || len(got.Drops) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	time.AfterFunc(30*time.Millisecond, func() { a.enforcement.drops.add(make([]socket.Drop, 1)) })
	if got, err := a.Drops(t.Context(), 0); err != nil || len(got.Drops) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestDropOf names whose side it was, and who isolates.
func TestDropOf(t *testing.T) {
	w, here := smallWorld()
	names := namesOf(w)
	if names[here.node[1]] != "" {
		t.Errorf("the node's address is that of %s", names[here.node[1]])
	}
	r := drops.Record{
		Time: time.Unix(1, 0), From: netip.MustParseAddrPort("10.0.1.2:4000"), To: netip.MustParseAddrPort("10.0.0.2:80"), Protocol: policy.TCP, Interface: "wrp1",
		Reason: drops.ByRule, Rule: policy.RuleID{Tier: policy.NetworkPolicyTier, Rule: -1}, Missed: 4,
	}
	far := socket.End{Pod: "x/far", Address: r.From.Addr(), Port: 4000}
	web := socket.End{Pod: "x/web", Address: r.To.Addr(), Port: 80}
	index := 3
	for name, c := range map[string]struct {
		change func(*drops.Record)
		want   func(*socket.Drop)
	}{
		"isolated": {func(*drops.Record) {}, func(d *socket.Drop) {
			d.Reason, d.Pod, d.Rule, d.IsolatedBy = "isolated", "x/web", &socket.Rule{Tier: "NetworkPolicy"}, []string{"x/none"}
		}},
		"by a rule, on the other side": {func(r *drops.Record) {
			r.Direction, r.Rule = policy.Egress, policy.RuleID{Tier: policy.AdminTier, Policy: "p", Rule: 3, Name: "n"}
		}, func(d *socket.Drop) {
			d.Reason, d.Direction, d.Pod, d.Rule = "rule", "egress", "x/far", &socket.Rule{Tier: "Admin", Policy: "p", Index: &index, Name: "n"}
		}},
		"without rules": {func(r *drops.Record) { r.Reason = drops.NotBound }, func(d *socket.Drop) { d.Reason, d.Pod = "no rules yet", "x/web" }},
		"revoked":       {func(r *drops.Record) { r.Reason = drops.ByRevocation }, func(d *socket.Drop) { d.Reason, d.Direction = "revoked", "" }},
		"past":          {func(r *drops.Record) { r.Reason = drops.ByPast }, func(d *socket.Drop) { d.Reason, d.Direction = "past rule", "" }},
	} {
		record := r
		c.change(&record)
		want := socket.Drop{Time: r.Time.UTC(), From: far, To: web, Protocol: "tcp", Direction: "ingress", Interface: "wrp1", Missed: 4}
		c.want(&want)
		if d := cmp.Diff(want, dropOf(record, names, w), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if len(dropFields(want)) < 9 {
			t.Errorf("%s: the log has too few fields", name)
		}
	}
}

// TestPreviewHere counts what would be cut at this node's pods, once each, and knows the node's own flows.
func TestPreviewHere(t *testing.T) {
	w, here := smallWorld()
	w.Policies[0].Annotations = map[string]string{policy.StageAnnotation: policy.StagePreview}
	packet := func(from, to string) policy.Packet {
		return policy.Packet{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to), Protocol: policy.TCP, Port: 80}
	}
	if !here.between(here.node[0], netip.MustParseAddr("10.0.0.2")) || here.between(here.node[0], netip.MustParseAddr("10.0.1.2")) {
		t.Error("whose node this is")
	}
	previews := w.Preview([]policy.Connection{
		{Packet: packet("10.0.1.2", "10.0.0.2"), FromPort: 1},             // at both ends, of which one is here
		{Packet: packet("10.0.1.2", "10.0.0.2"), FromPort: 2},             // another
		{Packet: packet("10.0.1.2", "198.51.100.1"), FromPort: 1},         // elsewhere
		{Packet: packet("10.0.0.1", "10.0.0.2"), FromPort: 1, Host: true}, // a probe
	})
	if len(previews) != 1 || here.cut(previews[0]) != 2 || len(previews[0].Cuts) != 5 {
		t.Errorf("%+v", previews)
	}
}

// TestDropsBound has a pod send as fast as it can what is denied: no more than a batch is kept at once, and the rest waits where there is room for
// another; each that is kept is in the log, at debug.
func TestDropsBound(t *testing.T) {
	core, logged := observer.New(zap.DebugLevel)
	a := &Agent{logger: zap.New(core)}
	e := &a.enforcement
	registry := prometheus.NewRegistry()
	e.metrics = newTellMetrics(registry, e)
	e.drops.open()
	ctx, stop := context.WithTimeout(t.Context(), dropsPause/2)
	defer stop()
	taken := 0
	go a.nameDrops(ctx)
	for ctx.Err() == nil {
		select {
		case e.drops.fresh <- drops.Record{From: netip.MustParseAddrPort("10.0.0.2:1"), To: netip.MustParseAddrPort("10.0.0.3:2"), Protocol: policy.UDP, Reason: drops.ByPast}:
			taken++
		case <-ctx.Done():
		}
	}
	got, _ := e.drops.after(0)
	if n := len(got.Drops); n == 0 || n > dropsAtOnce || taken > 2*dropsAtOnce {
		t.Errorf("%d were taken, %d kept, want at most %d and %d", taken, n, 2*dropsAtOnce, dropsAtOnce)
	}
	if logged.Len() != len(got.Drops) || logged.All()[0].ContextMap()["toAddress"] != "10.0.0.3:2" {
		t.Errorf("%d of %d are in the log: %+v", logged.Len(), len(got.Drops), logged.All()[:1])
	}
	if families, err := registry.Gather(); err != nil || len(families) != 1 || len(families[0].GetMetric()) != 2 {
		t.Errorf("counted: %v, %v", families, err)
	}
}
