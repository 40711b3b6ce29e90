package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

// maxTunnelGap is how long a pair may be silent when the process of a userspace device ends, which the kernel's device has not.
const maxTunnelGap = 1500 * time.Millisecond

// TestUndisturbed: what happens to agents, the API server and other nodes costs a pair's traffic, a thousand packets a second both
// ways, not one of them. Where the process of the userspace device itself ends, the gap is short.
func TestUndisturbed(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n1, n2 := s.Node("n1"), s.Node("n2")
	for _, event := range []struct {
		name   string
		maxGap time.Duration // 0: nothing may be lost
		happen func() error
	}{
		{"agent restarted", 0, func() error { return errors.Join(n1.StopAgent(ctx), n1.StartAgent(ctx), n1.WaitReady(ctx)) }},
		{"agent killed and restarted", 0, func() error { return errors.Join(n1.KillAgent(), n1.StartAgent(ctx), n1.WaitReady(ctx)) }},
		{"both agents restarted at once", 0, func() error {
			return errors.Join(n1.KillAgent(), n2.KillAgent(), n1.StartAgent(ctx), n2.StartAgent(ctx), n1.WaitReady(ctx), n2.WaitReady(ctx))
		}},
		{"another node joins and leaves", 0, func() error {
			n4, err := s.AddNode(ctx)
			if err != nil {
				return err
			}
			if err := errors.Join(n4.StartAgent(ctx), n4.WaitReady(ctx), n1.WaitPeers(ctx, 3)); err != nil {
				return err
			}
			return errors.Join(s.DeleteNode(ctx, n4.Name), n1.WaitPeers(ctx, 2))
		}},
		{"API server stopped for 10 s", 0, func() error {
			if err := s.Cluster().StopAPIServer(); err != nil {
				return err
			}
			pause(ctx, 10*time.Second)
			return s.Cluster().StartAPIServer(ctx)
		}},
		{"agent restarted without the API server", 0, func() error {
			return errors.Join(s.Cluster().StopAPIServer(), n1.StopAgent(ctx), n1.StartAgent(ctx), s.Cluster().StartAPIServer(ctx), n1.WaitReady(ctx))
		}},
		{"tunnel process killed", maxTunnelGap, func() error {
			for pid, line := range processes(t, n1) {
				if strings.Contains(line, " tunnel ") {
					return unix.Kill(pid, unix.SIGKILL)
				}
			}
			return errors.New("there is no tunnel process")
		}},
	} {
		t.Run(event.name, func(t *testing.T) {
			stream := s.stream(ctx, t, "n1", "n2")
			pause(ctx, 500*time.Millisecond)
			if err := event.happen(); err != nil {
				t.Fatal(err)
			}
			pause(ctx, 2*time.Second)
			result := stream.Stop()
			t.Log(result)
			if result.Received == 0 || event.maxGap == 0 && result.Lost != 0 || event.maxGap > 0 && result.LongestGap > event.maxGap {
				t.Errorf("%s; want %s", result, wanted(event.maxGap))
			}
		})
	}
	s.sealed(ctx, t)
}

func wanted(maxGap time.Duration) string {
	if maxGap == 0 {
		return "none lost"
	}
	return "no gap above " + maxGap.String()
}

// pause lets time pass under traffic, which is all there is to wait for.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
