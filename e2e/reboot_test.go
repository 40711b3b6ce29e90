package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/mesh"
)

// TestARebootWithoutTheAPIServer: a node that reboots while the API server is away comes up meshed from its disk, within 5 s of its
// agent's start, with the rules that its pods had. The others never notice, and the API server's return costs nobody a packet.
func TestARebootWithoutTheAPIServer(t *testing.T) {
	for _, underlay := range []lab.Families{lab.IPv4, lab.IPv6} {
		t.Run(string(underlay), func(t *testing.T) {
			ctx := testContext(t)
			s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual, UnderlayFamilies: underlay})
			s.meshed(ctx, t)
			n2 := s.Node("n2")
			if err := s.Cluster().Apply(ctx, []byte(notFromN1)); err != nil {
				t.Fatal(err)
			}
			s.saved(ctx, t, n2, 2)
			rulesSaved(ctx, t, n2)
			eventually(ctx, t, 10*time.Second, func() error { return denied(ctx, s.Node("n1"), s.pod("n2")) })
			if err := s.Cluster().StopAPIServer(); err != nil {
				t.Fatal(err)
			}
			others := stream(ctx, t, s.pod("n1"), s.pod("n3"))
			s.reboot(ctx, t, n2)

			start := time.Now()
			if err := n2.StartAgent(ctx); err != nil {
				t.Fatal(err)
			}
			s.addPod(ctx, t, n2, "p1")
			// The others first: nothing of the node's own pods makes it speak up, and the others' sessions are with it as it was.
			eventually(ctx, t, 5*time.Second-pace.Since(start), func() error { return s.toPodOf(ctx, n2) })
			eventually(ctx, t, 5*time.Second-pace.Since(start), func() error { return s.fromPodOf(ctx, n2) })
			t.Logf("pods connected both ways %s after the agent's start", time.Since(start))
			for _, other := range []string{"n1", "n3"} {
				reachBothWays(ctx, t, s.pod(other), s.pod("n2"))
			}
			wantLogged(t, n2, "the last good plan on disk is in the kernel")
			wantLogged(t, n2, "the pods' rules on disk are in the kernel")
			if err := denied(ctx, s.Node("n1"), s.pod("n2")); err != nil {
				t.Error(err)
			}

			back, forth := stream(ctx, t, s.pod("n1"), s.pod("n2")), stream(ctx, t, s.pod("n2"), s.pod("n3"))
			if err := s.Cluster().StartAPIServer(ctx); err != nil {
				t.Fatal(err)
			}
			if err := n2.WaitReady(ctx); err != nil {
				t.Fatal(err)
			}
			for what, running := range map[string]*lab.Stream{
				"between the others": others, "to the node when the API server came back": back, "from it": forth,
			} {
				if result := running.Stop(); result.Lost != 0 || result.Sent == 0 {
					t.Errorf("%s: %s, want none lost", what, result)
				}
			}
			eventually(ctx, t, 10*time.Second, func() error { return reported(ctx, s, s.pod("n2")) })
			s.sealed(ctx, t)
		})
	}
}

// TestARebootWithATornPlan: what is on the disk cannot be used and says so once; nothing leaves in clear, and the API server's
// return brings the mesh.
func TestARebootWithATornPlan(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n2 := s.Node("n2")
	s.saved(ctx, t, n2, 1)
	if err := s.Cluster().StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	s.reboot(ctx, t, n2)
	if err := os.Truncate(planFile(n2), 500); err != nil {
		t.Fatal(err)
	}
	pod := s.addPodByHand(ctx, t, n2, "p1") // the agent gives none a network yet
	if err := n2.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error { return logged(n2, "is not used", "torn or corrupt") })
	eventually(ctx, t, time.Second, func() error { // no pod starts before: the plugin asks the agent
		_, err := n2.Run(ctx, "nft", "list", "chain", "inet", "warren-mesh", "forward")
		return err
	})
	for _, to := range s.pod("n1").Addresses {
		unreachableAtOnce(ctx, t, &pod.Host, to)
	}
	if err := s.Cluster().StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n2.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	s.meshed(ctx, t)
	s.saved(ctx, t, n2, 1)
	s.sealed(ctx, t)
}

// TestAnOldPlanDisturbsNothing: an agent that starts without an API server, on a kernel that holds more, and newer, than its disk.
func TestAnOldPlanDisturbsNothing(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n1 := s.Node("n1")
	s.saved(ctx, t, n1, 2)
	if err := s.Cluster().StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	streams := map[string]*lab.Stream{
		"n2": stream(ctx, t, s.pod("n1"), s.pod("n2")), "n3": stream(ctx, t, s.pod("n3"), s.pod("n1")),
	}
	if err := n1.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	age(t, n1)
	const look = "ip -d address; ip route show table all; ip -6 route show table all; nft -s list ruleset; " +
		"for what in allowed-ips endpoints persistent-keepalive; do wg show warren0 $what | sort; done"
	before := run(ctx, t, &n1.Host, "", "sh", "-c", look)
	if err := n1.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error { return logged(n1, `"peers":1,"added":0`) })
	if diff := cmp.Diff(before, run(ctx, t, &n1.Host, "", "sh", "-c", look)); diff != "" {
		t.Errorf("the kernel's state (-before +after):\n%s", diff)
	}
	if err := s.Cluster().StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n1.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	s.saved(ctx, t, n1, 2)
	for name, running := range streams {
		if result := running.Stop(); result.Lost != 0 || result.Sent == 0 {
			t.Errorf("with %s: %s, want none lost", name, result)
		}
	}
	s.sealed(ctx, t)
}

// age makes the plan on a node's disk one from before n3 joined, when n2 was elsewhere and had n3's pod CIDRs.
func age(t *testing.T, n *lab.Node) {
	t.Helper()
	content, err := os.ReadFile(planFile(n))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := checkpoint.Decode(content)
	if err != nil {
		t.Fatal(err)
	}
	peers := plan.Lanes[0].Peers
	peers[0].Endpoint = netip.MustParseAddrPort("172.30.0.77:51820")
	peers[0].AllowedIPs = peers[1].AllowedIPs
	plan.Lanes[0].Peers = peers[:1]
	if _, err := checkpoint.New(n.StateDir()).Save(plan); err != nil {
		t.Fatal(err)
	}
}

func planFile(n *lab.Node) string { return filepath.Join(n.StateDir(), checkpoint.FileName) }

// saved waits until the plan on a node's disk has so many peers.
func (s *scene) saved(ctx context.Context, t *testing.T, n *lab.Node, peers int) {
	t.Helper()
	eventually(ctx, t, 20*time.Second, func() error {
		content, err := os.ReadFile(planFile(n))
		if err != nil {
			return err
		}
		var plan mesh.Plan
		if plan, err = checkpoint.Decode(content); err != nil {
			return err
		}
		if have := len(plan.Lanes[0].Peers); have != peers {
			return fmt.Errorf("the plan on disk has %d peers, want %d", have, peers)
		}
		return nil
	})
}

// reboot reboots a node, and proves the capture on its new cable.
func (s *scene) reboot(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	if err := s.Reboot(n); err != nil {
		t.Fatal(err)
	}
	if left := processes(t, n); len(left) > 0 {
		t.Fatalf("%s came up with processes: %v", n.Name, left)
	}
	if links := run(ctx, t, &n.Host, "", "ip", "-o", "link"); strings.Count(links, "\n") != 2 {
		t.Fatalf("%s came up with more than lo and its cable:\n%s", n.Name, links)
	}
	s.prove(ctx, t, n)
}

// toPodOf pings from all other nodes' pods to a node's, each family.
func (s *scene) toPodOf(ctx context.Context, n *lab.Node) error {
	var errs []error
	for _, other := range s.Pods() {
		if other.Node != n {
			errs = append(errs, pingAll(ctx, other, s.pod(n.Name)))
		}
	}
	return errors.Join(errs...)
}

// fromPodOf is the other way.
func (s *scene) fromPodOf(ctx context.Context, n *lab.Node) error {
	var errs []error
	for _, other := range s.Pods() {
		if other.Node != n {
			errs = append(errs, pingAll(ctx, s.pod(n.Name), other))
		}
	}
	return errors.Join(errs...)
}

func pingAll(ctx context.Context, from, to *lab.Pod) error {
	var errs []error
	for _, addr := range to.Addresses {
		errs = append(errs, from.Ping(ctx, addr, lab.PingOptions{Timeout: 200 * time.Millisecond}))
	}
	return errors.Join(errs...)
}

func reachBothWays(ctx context.Context, t *testing.T, a, b *lab.Pod) {
	t.Helper()
	for _, way := range [][2]*lab.Pod{{a, b}, {b, a}} {
		for _, to := range way[1].Addresses {
			for _, protocol := range []string{"tcp", "udp"} {
				if err := way[0].Reach(ctx, to, protocol, 1000); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// stream is slow enough for the sockets' buffers to hold what comes while an API server that starts has the processors.
func stream(ctx context.Context, t *testing.T, from, to *lab.Pod) *lab.Stream {
	t.Helper()
	running, err := from.Stream(ctx, to.Address(true), 10*time.Millisecond, 64)
	if err != nil {
		t.Fatal(err)
	}
	return running
}

// logged is an error unless one line of the agents' log has all the texts.
func logged(n *lab.Node, texts ...string) error {
	content, err := os.ReadFile(n.AgentLog())
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(content)) {
		has := 0
		for _, text := range texts {
			if strings.Contains(line, text) {
				has++
			}
		}
		if has == len(texts) {
			return nil
		}
	}
	return fmt.Errorf("no line of the log of %s has %q", n.Name, texts)
}

func wantLogged(t *testing.T, n *lab.Node, texts ...string) {
	t.Helper()
	if err := logged(n, texts...); err != nil {
		t.Error(err)
	}
}
