package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/mesh"
)

// maxTunnelGap is how long a pair may be silent when the process of a userspace device ends, which the kernel's device has not.
const maxTunnelGap = 1500 * time.Millisecond

// undisturbed is what happens while a pair has traffic.
type undisturbed struct {
	name string
	// maxGap is how long nothing may come; 0: nothing may be lost.
	maxGap time.Duration
	happen func() error
}

// TestUndisturbed: what happens to agents, the API server and other nodes costs a pair's traffic not one packet. Where the process of the
// userspace device itself ends, the gap is short.
func TestUndisturbed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(10*time.Minute))
	defer cancel()
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n1, n2 := s.Node("n1"), s.Node("n2")
	device := deviceOf(ctx, t, n1)
	if err := s.Cluster().Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	other := buildAgent(ctx, t, otherVersion)
	events := []undisturbed{
		{"nothing happens", 0, func() error { pause(ctx, 3*time.Second); return nil }},
		{"agent stopped, 5 s without one", 0, func() error {
			if err := n1.StopAgent(ctx); err != nil {
				return err
			}
			pause(ctx, 5*time.Second)
			return errors.Join(n1.StartAgent(ctx), n1.WaitReady(ctx))
		}},
		{"agent restarted", 0, func() error { return errors.Join(n1.StopAgent(ctx), n1.StartAgent(ctx), n1.WaitReady(ctx)) }},
		{"agent killed (SIGKILL) and started", 0, func() error { return errors.Join(n1.KillAgent(), n1.StartAgent(ctx), n1.WaitReady(ctx)) }},
		{"both nodes' agents killed at once", 0, func() error {
			return errors.Join(n1.KillAgent(), n2.KillAgent(), n1.StartAgent(ctx), n2.StartAgent(ctx), n1.WaitReady(ctx), n2.WaitReady(ctx))
		}},
		{"agent replaced by another build, and back", 0, func() error {
			n1.UseAgent(other)
			err := errors.Join(n1.StopAgent(ctx), n1.StartAgent(ctx), n1.WaitReady(ctx), runs(n1, otherVersion))
			n1.UseAgent("")
			return errors.Join(err, n1.StopAgent(ctx), n1.StartAgent(ctx), n1.WaitReady(ctx))
		}},
		{"agent started where the guard is gone", 0, func() error {
			if err := n1.StopAgent(ctx); err != nil {
				return err
			}
			if _, err := n1.Run(ctx, "nft", "delete", "table", "inet", mesh.GuardTable); err != nil {
				return err
			}
			return errors.Join(n1.StartAgent(ctx), n1.WaitReady(ctx))
		}},
		{"audit of the whole kernel", 0, func() error { return audit(ctx, n1, n2) }},
		{"another node joins and leaves", 0, func() error { return joinAndLeave(ctx, s, n1) }},
		{"agent restarted without the API server", 0, func() error {
			return errors.Join(s.Cluster().StopAPIServer(), n1.StopAgent(ctx), n1.StartAgent(ctx), s.Cluster().StartAPIServer(ctx), n1.WaitReady(ctx))
		}},
		{"API server stopped for 60 s", 0, func() error {
			if err := s.Cluster().StopAPIServer(); err != nil {
				return err
			}
			pause(ctx, 60*time.Second)
			return s.Cluster().StartAPIServer(ctx)
		}},
		{"full resync: every Node changed, and listed anew", 0, func() error { return resync(ctx, s) }},
		{"etcd restored from an older snapshot", 0, func() error { return s.Cluster().Restore(ctx) }},
	}
	if device == userspace {
		events = append(events, undisturbed{"tunnel process killed", maxTunnelGap, func() error { return killTunnel(t, n1) }})
	} else {
		t.Logf("the %s device has no process that could end", device)
	}
	for _, event := range events {
		t.Run(event.name, func(t *testing.T) { s.undisturbed(ctx, t, device, event) })
	}
	// What the agents know is not what etcd holds, unless they have noticed that it is older.
	t.Run("after the restore they follow", func(t *testing.T) {
		if err := joinAndLeave(ctx, s, n1); err != nil {
			t.Error(err)
		}
	})
	s.meshed(ctx, t)
	s.sealed(ctx, t)
}

// undisturbed lets something happen while n1 and n2 have traffic: a thousand numbered packets a second each way, and a TCP connection.
func (s *scene) undisturbed(ctx context.Context, t *testing.T, device string, event undisturbed) {
	t.Helper()
	flow, err := s.pod("n1").Flow(ctx, s.pod("n2").Address(false))
	if err != nil {
		t.Fatal(err)
	}
	stream := s.stream(ctx, t, "n1", "n2")
	pause(ctx, 500*time.Millisecond)
	if err := event.happen(); err != nil {
		t.Error(err)
	}
	pause(ctx, 2*time.Second)
	udp, tcp := stream.Stop(), flow.Stop()
	row, err := json.Marshal(map[string]any{
		"device": device, "event": event.name, "sent": udp.Sent, "lost": udp.Lost, "gapMs": udp.LongestGap.Milliseconds(),
		"tcpBytes": tcp.Returned, "tcpWhole": tcp.Err == nil && tcp.Returned == tcp.Sent, "tcpGapMs": tcp.LongestGap.Milliseconds(),
		"maxGapMs": event.maxGap.Milliseconds(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resilience: %s", row)
	if maxGap := pace.Scale(event.maxGap); udp.Received == 0 || maxGap == 0 && udp.Lost != 0 || maxGap > 0 && udp.LongestGap > maxGap {
		t.Errorf("UDP: %s; want %s", udp, wanted(maxGap))
	}
	if tcp.Err != nil || tcp.Returned == 0 || tcp.Returned != tcp.Sent {
		t.Errorf("TCP: %s; want all of it back", tcp)
	}
}

func wanted(maxGap time.Duration) string {
	if maxGap == 0 {
		return "none lost"
	}
	return "no gap above " + maxGap.String()
}

// audit makes the agents read all that the kernel holds: what is done to the lane's link may mean anything.
func audit(ctx context.Context, nodes ...*lab.Node) error {
	for _, n := range nodes {
		for _, group := range []string{"1", "0"} {
			if _, err := n.Run(ctx, "ip", "link", "set", "warren0", "group", group); err != nil {
				return err
			}
			pause(ctx, time.Second)
		}
	}
	return nil
}

// joinAndLeave has a node join and be deleted, as n1's peers show.
func joinAndLeave(ctx context.Context, s *scene, n1 *lab.Node) error {
	added, err := s.AddNode(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(added.StartAgent(ctx), added.WaitReady(ctx), n1.WaitPeers(ctx, 3)); err != nil {
		return err
	}
	if err := s.DeleteNode(ctx, added.Name); err != nil {
		return err
	}
	gone := time.Now().Add(pace.Scale(10 * time.Second))
	for {
		peers, err := n1.Run(ctx, "wg", "show", "warren0", "peers")
		if err != nil || strings.Count(peers, "\n") == 2 {
			return err
		}
		if time.Now().After(gone) {
			return fmt.Errorf("n1 has other peers than 2, 10 s after %s was deleted:\n%s", added.Name, peers)
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// resync changes every Node, and then ends all watches, with which the API server forgets what it could have told: they list anew.
func resync(ctx context.Context, s *scene) error {
	nodes := s.Cluster().Admin().CoreV1().Nodes()
	for _, n := range s.Nodes() {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"example.com/resync":"%d"}}}`, time.Now().UnixNano())
		if _, err := nodes.Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	return errors.Join(s.Cluster().StopAPIServer(), s.Cluster().StartAPIServer(ctx))
}

func killTunnel(t *testing.T, n *lab.Node) error {
	t.Helper()
	for pid, line := range processes(t, n) {
		if strings.Contains(line, " tunnel ") {
			return unix.Kill(pid, unix.SIGKILL)
		}
	}
	return errors.New("there is no tunnel process")
}

// pause lets time pass under traffic, which is all there is to wait for.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
