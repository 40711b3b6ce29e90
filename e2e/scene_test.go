package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// scene is a lab whose underlay was captured, and the capture proven on every node, before its first agent started.
type scene struct {
	*lab.Lab
	capture *lab.Capture
	// network makes, on a node that has booted, what another network than Warren's does there; nil where the network is Warren's.
	network func(context.Context, *testing.T, *lab.Node)
}

// patience bounds one scenario: none of them waits for anything that takes longer.
const patience = 3 * time.Minute

func testContext(t *testing.T) context.Context {
	t.Helper()
	limit := pace.Scale(patience)
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("the scenario took more than %s", limit))
	t.Cleanup(cancel)
	return ctx
}

// newScene starts a lab, its capture and, but for those of the nodes in without, its agents; with a pod p1 on every node.
func newScene(ctx context.Context, t *testing.T, options lab.Options, without ...string) *scene {
	t.Helper()
	s := bareScene(ctx, t, options)
	for _, n := range s.Nodes() {
		if !contains(without, n.Name) {
			s.startAgent(ctx, t, n)
		}
	}
	for _, n := range s.Nodes() {
		s.addPod(ctx, t, n, "p1")
	}
	return s
}

// bareScene starts a lab and its capture only: no agents, and no pods.
func bareScene(ctx context.Context, t *testing.T, options lab.Options) *scene {
	t.Helper()
	options.NoAgents = true
	s := &scene{Lab: lab.New(t, options)}
	capture, err := s.Capture(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.capture = capture
	for _, n := range s.Nodes() {
		s.prove(ctx, t, n)
	}
	return s
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// prove sends from a node what a leak would look like; the capture must see it.
func (s *scene) prove(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	if err := s.capture.Control(ctx, n); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) startAgent(ctx context.Context, t *testing.T, n *lab.Node, args ...string) {
	t.Helper()
	if err := n.StartAgent(ctx, args...); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) addPod(ctx context.Context, t *testing.T, n *lab.Node, name string) *lab.Pod {
	t.Helper()
	p, err := n.AddPod(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *scene) addPodByHand(ctx context.Context, t *testing.T, n *lab.Node, name string) *lab.Pod {
	t.Helper()
	p, err := n.AddPodByHand(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pod is the first pod of a node.
func (s *scene) pod(node string) *lab.Pod { return s.Node(node).Pod("p1") }

// meshed waits until every pod pings every pod: the agents have heard of each other by then. One of each two calls first: where
// both call at the very same moment, as a matrix of pings does, WireGuard lets go of both handshakes and waits 5 s.
func (s *scene) meshed(ctx context.Context, t *testing.T) {
	t.Helper()
	pods := lab.PodHosts(s.Pods())
	for i, from := range pods {
		for _, to := range pods[i+1:] {
			eventually(ctx, t, 20*time.Second, func() error { return quickPing(ctx, from, to.Addresses[0]) })
		}
	}
	eventually(ctx, t, 20*time.Second, func() error {
		_, err := lab.Matrix(ctx, pods, lab.Addresses(pods), quickPing)
		return err
	})
}

var quickPing lab.Check = func(ctx context.Context, from *lab.Host, to netip.Addr) error {
	return from.Ping(ctx, to, lab.PingOptions{Timeout: 500 * time.Millisecond})
}

// sealed fails the test if the capture has seen anything of the pods in clear, or no WireGuard at all.
func (s *scene) sealed(ctx context.Context, t *testing.T) {
	t.Helper()
	leaks, err := s.capture.Leaks(ctx)
	if err != nil {
		t.Error(err)
	}
	for i, leak := range leaks {
		if i == 10 {
			t.Errorf("... and %d more", len(leaks)-i)
			break
		}
		t.Error("in clear on the underlay:", leak)
	}
	t.Logf("on the underlay: %d WireGuard packets, %d others, %d leaks", s.capture.WireGuardPackets(), s.capture.OtherPackets(), len(leaks))
	if s.capture.WireGuardPackets() == 0 {
		t.Error("no WireGuard packet was seen")
	}
}

// stream begins to send a thousand small datagrams a second from the first pod of a node to that of another, and back.
func (s *scene) stream(ctx context.Context, t *testing.T, from, to string) *lab.Stream {
	t.Helper()
	stream, err := s.pod(from).Stream(ctx, s.pod(to).Address(true), time.Millisecond, 64)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// publicKey is the key of a node's device.
func publicKey(ctx context.Context, t *testing.T, n *lab.Node) string {
	t.Helper()
	return strings.TrimSpace(run(ctx, t, &n.Host, "", "wg", "show", "warren0", "public-key"))
}

// eventually tries until it succeeds, and fails the test with the last error after limit, which [pace] stretches. It returns how
// long it took.
func eventually(ctx context.Context, t *testing.T, limit time.Duration, try func() error) time.Duration {
	t.Helper()
	start, limit := time.Now(), pace.Scale(limit)
	for {
		err := try()
		took := time.Since(start)
		if err == nil && took <= limit {
			return took
		}
		if took > limit || ctx.Err() != nil {
			t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond) // Polling the packets' own world: there is no event to wait for.
	}
}

// run runs a command on a host, with input.
func run(ctx context.Context, t *testing.T, h *lab.Host, input, name string, args ...string) string {
	t.Helper()
	cmd := h.Command(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s %s: %v\n%s", h.Name, name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
