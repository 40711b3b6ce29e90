package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

var (
	chaosFaults = flag.Int("chaos.faults", 40, "faults that TestChaos does")
	chaosSeed   = flag.Uint64("chaos.seed", 0, "seed of the faults; 0 is drawn, and printed")
	chaosFrom   = flag.Int("chaos.from", 1, "number of the first fault, to replay one")
	chaosReport = flag.String("chaos.report", "", "file for the report, from the repository's root; none where empty")
)

const (
	// wholeWithin is how long after a fault's end the mesh may take to be whole.
	wholeWithin = 10 * time.Second
	// streamInterval is between two datagrams of a pair.
	streamInterval = 10 * time.Millisecond
)

// chaos is a lab to which faults happen.
type chaos struct {
	*scene
	kinds  []faultKind
	before map[string]string // what look saw before the first fault
	keys   map[string]string // public keys by node
	other  string            // the path of another build of the agent
	lives  lives
	// stale says that the controller-manager may not have heard yet that the API server is back.
	stale atomic.Bool
}

// TestChaos does random faults in a row. After each the mesh is whole within 10 s of the fault's end, nothing was in clear, and pairs
// that the fault may not disturb have lost nothing; over the run no process has grown.
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay all: -chaos.seed=%d -chaos.faults=%d; one: and -chaos.from=N -chaos.faults=1", seed, *chaosFaults)
	ctx := t.Context()
	c := newChaos(ctx, t)
	s := summary{seed: seed, began: time.Now()}
	for number := *chaosFrom; number < *chaosFrom+*chaosFaults; number++ {
		r := c.happen(ctx, t, draw(seed, number, c.kinds))
		s.records = append(s.records, r)
		for _, failure := range r.failures {
			s.failures = append(s.failures, fmt.Sprintf("fault %d, %s: %s", number, r.order, failure))
			t.Errorf("fault %d (-chaos.seed=%d -chaos.from=%d -chaos.faults=1), %s: %s", number, seed, number, r.order, failure)
		}
		if t.Context().Err() != nil || len(s.failures) > 20 {
			t.Error("given up")
			break
		}
	}
	c.finish(ctx, t, &s)
}

func newChaos(ctx context.Context, t *testing.T) *chaos {
	t.Helper()
	c := &chaos{
		scene: newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual}),
		keys:  map[string]string{}, other: buildAgent(ctx, t, otherVersion), lives: lives{},
	}
	for _, n := range c.Nodes() {
		c.addPod(ctx, t, n, podNames[1])
		c.keys[n.Name] = publicKey(ctx, t, n)
	}
	if err := c.waitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.before, err = c.look(ctx); err != nil {
		t.Fatal(err)
	}
	c.kinds = slices.DeleteFunc(slices.Clone(faultKinds), func(k faultKind) bool { return k.userspace && c.device(t) != "userspace" })
	return c
}

// device is the kind of WireGuard that the lab's agents found.
func (c *chaos) device(t *testing.T) string {
	t.Helper()
	found, err := processesOf(c.Node("n1"))
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(found, func(p process) bool { return p.role == roleTunnel }) {
		return "userspace"
	}
	return "kernel"
}

// happen lets an order happen and looks what comes of it.
func (c *chaos) happen(ctx context.Context, t *testing.T, o order) record {
	t.Helper()
	r := record{order: o}
	fail := func(format string, args ...any) { r.failures = append(r.failures, fmt.Sprintf(format, args...)) }
	flows := c.flow(ctx, t, o)
	start := time.Now()
	for i, err := range c.shoot(ctx, o) {
		if err != nil {
			fail("%s itself: %v", o.shots[i].kind.name, err)
		}
	}
	end := time.Now()
	err := c.waitWhole(ctx)
	r.took = time.Since(end)
	if err != nil {
		fail("the mesh is not whole within %s of the fault's end: %v", pace.Scale(wholeWithin), err)
	} else if r.took > pace.Scale(wholeWithin) {
		fail("the mesh is whole %s after the fault's end, want %s", ms(r.took), pace.Scale(wholeWithin))
	}
	for _, f := range flows {
		result := f.stream.Stop()
		if f.disturbed {
			r.sent, r.lost = r.sent+result.Sent, r.lost+result.Lost
			continue
		}
		r.spared, r.sparedLost = r.spared+result.Sent, r.sparedLost+result.Lost
		if result.Lost > 0 || result.Received == 0 {
			fail("from %s to %s, which nothing disturbs: %s", f.from, f.to, result)
		}
	}
	leaks, err := c.capture.Leaks(ctx)
	if err != nil {
		fail("%v", err)
	}
	for i, leak := range leaks {
		if i < 5 {
			fail("in clear on the underlay: %s", leak)
		}
	}
	for _, n := range c.Nodes() {
		if !n.AgentRunning() {
			fail("the agent of %s has ended by itself", n.Name)
			continue
		}
		c.lives.look(ctx, t, n)
	}
	t.Logf("fault %d: %s: took %s, whole %s later; lost %d of %d", o.number, o, ms(end.Sub(start)), ms(r.took), r.lost, r.sent)
	return r
}

// shoot does all shots of an order at the same time.
func (c *chaos) shoot(ctx context.Context, o order) []error {
	errs := make([]error, len(o.shots))
	var wait sync.WaitGroup
	for i, s := range o.shots {
		wait.Go(func() { errs[i] = s.kind.do(ctx, c, s) })
	}
	wait.Wait()
	return errs
}

// flow is the traffic of a pair.
type flow struct {
	from, to  string
	disturbed bool
	stream    *lab.Stream
}

// flow begins traffic between all pairs, from the one that also calls first where they ping each other; not where the pods go.
func (c *chaos) flow(ctx context.Context, t *testing.T, o order) (flows []flow) {
	t.Helper()
	for i, from := range anyNode {
		for _, to := range anyNode[i+1:] {
			f := flow{from: from, to: to}
			gone := false
			for _, s := range o.shots {
				if s.touches(from, to) {
					gone, f.disturbed = gone || s.kind.podsGo, f.disturbed || !s.kind.harmless
				}
			}
			if gone {
				continue
			}
			var err error
			if f.stream, err = c.pod(from).Stream(ctx, c.pod(to).Address(true), streamInterval, 64); err != nil {
				t.Fatal(err)
			}
			flows = append(flows, f)
		}
	}
	return flows
}

// finish judges the run as a whole, and writes the report where one is asked for.
func (c *chaos) finish(ctx context.Context, t *testing.T, s *summary) {
	t.Helper()
	fail := func(text string) {
		s.failures = append(s.failures, text)
		t.Error(text)
	}
	if err := c.settled(ctx); err != nil {
		fail(err.Error())
	}
	s.growths = c.lives.growths()
	for _, g := range s.growths {
		for _, text := range g.grown() {
			fail(text)
		}
	}
	if len(s.growths) == 0 && len(s.records) >= minLife {
		fail("no process lived long enough to be asked whether it grew")
	}
	leaks, err := c.capture.Leaks(ctx)
	if err != nil {
		fail(err.Error())
	}
	s.leaks, s.packets, s.others = len(leaks), c.capture.WireGuardPackets(), c.capture.OtherPackets()
	if s.leaks > 0 || s.packets == 0 {
		fail(fmt.Sprintf("%d frames in clear, %d of WireGuard", s.leaks, s.packets))
	}
	s.lasted, s.device, s.kernel = time.Since(s.began), c.device(t), kernelRelease(t)
	version := run(ctx, t, &c.Node("n1").Host, "", "warrend", "--version")
	s.version = strings.TrimSpace(version)
	text := s.markdown()
	t.Log("\n" + text)
	if *chaosReport != "" {
		writeReport(t, *chaosReport, text)
	}
}

func kernelRelease(t *testing.T) string {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:])
}

// writeReport writes a file of the repository.
func writeReport(t *testing.T, path, text string) {
	t.Helper()
	root, err := lab.Repository()
	if err == nil && !strings.HasPrefix(path, "/") {
		path = root + "/" + path
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
