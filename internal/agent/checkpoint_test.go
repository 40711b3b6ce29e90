package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/mesh"
)

// TestKeeper: a plan is written once; failures are counted each and told once, as is their end.
func TestKeeper(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	dir := filepath.Join(t.TempDir(), "state")
	k := newKeeper(checkpoint.New(dir), zap.New(core), countersOnly(t))
	plan := func(node string) *mesh.Plan { return &mesh.Plan{Node: node, Lanes: []mesh.Lane{{Name: "warren0"}}} }
	const failed, again = "the last good plan could not be written to disk; the mesh goes on, and this is retried", "the last good plan is on disk again"
	for _, step := range []struct {
		name             string
		before           func() error
		plan             *mesh.Plan
		writes, failures float64
		logged           []string
	}{
		{name: "nothing was programmed yet"},
		{name: "no folder", plan: plan("n1"), failures: 1, logged: []string{failed}},
		{name: "no folder still", failures: 2},
		{"a folder", func() error { return os.Mkdir(dir, 0o700) }, nil, 1, 2, []string{again}},
		{name: "the same plan", plan: plan("n1"), writes: 1, failures: 2},
		{name: "another plan", plan: plan("n2"), writes: 2, failures: 2},
		{"no folder again", func() error { return os.RemoveAll(dir) }, nil, 2, 3, []string{failed}},
	} {
		if step.before != nil {
			if err := step.before(); err != nil {
				t.Fatal(err)
			}
		}
		if step.plan != nil {
			k.keep(*step.plan)
		}
		k.flush()
		writes, failures := count(t, k, "warren_checkpoint_writes_total"), count(t, k, "warren_checkpoint_failures_total")
		if writes != step.writes || failures != step.failures {
			t.Errorf("%s: %v writes and %v failures, want %v and %v", step.name, writes, failures, step.writes, step.failures)
		}
		var logged []string
		for _, entry := range logs.TakeAll() {
			logged = append(logged, entry.Message)
		}
		if diff := cmp.Diff(step.logged, logged); diff != "" {
			t.Errorf("%s: logged (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestKeeperCoalesces: what is programmed in quick succession is one write, and the last of it.
func TestKeeperCoalesces(t *testing.T) {
	k := newKeeper(checkpoint.New(t.TempDir()), zap.NewNop(), countersOnly(t))
	ctx := t.Context()
	k.keep(mesh.Plan{Node: "n0"})
	done := make(chan struct{})
	go func() { defer close(done); k.run(ctx) }()
	start := time.Now()
	for count(t, k, "warren_checkpoint_writes_total") == 0 {
		time.Sleep(time.Millisecond) // Polling a counter: there is no event to wait for.
	}
	for time.Since(start) < 500*time.Millisecond {
		k.keep(mesh.Plan{Node: time.Now().String()})
		time.Sleep(time.Millisecond)
	}
	k.keep(mesh.Plan{Node: "last"})
	if writes := count(t, k, "warren_checkpoint_writes_total"); writes > 2 {
		t.Errorf("%v writes in %s", writes, time.Since(start))
	}
	k.flush()
	content, err := os.ReadFile(k.store.Path())
	want, encodeErr := checkpoint.Encode(mesh.Plan{Node: "last"})
	if err != nil || encodeErr != nil || string(content) != string(want) {
		t.Errorf("on disk is %q, want %q (%v, %v)", content, want, err, encodeErr)
	}
}

// countersOnly are metrics without what is read from the kernel.
func countersOnly(t *testing.T) *metrics {
	t.Helper()
	a := &Agent{}
	m := newMetrics(a)
	m.registry.Unregister(kernelCollector{a})
	return m
}

func count(t *testing.T, k *keeper, name string) float64 {
	t.Helper()
	families, err := k.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
