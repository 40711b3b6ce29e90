package pods

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cidr4 = "10.244.3.0/24"
)

// TestKilledAtEachStep kills the agent, the plugin or both before each step of ADD and DEL. The runtime does what runtimes do: a failed
// ADD is followed by DEL, and by another sandbox of the same pod. Nobody's address is another's, nothing is left at the end.
func TestKilledAtEachStep(t *testing.T) {
	for _, who := range []string{"agent", "plugin", "both"} {
		t.Run(who, func(t *testing.T) {
			for step := 0; ; step++ {
				reached := false
				t.Run(fmt.Sprint(step), func(t *testing.T) { reached = killedAt(t, who, step) })
				if !reached {
					t.Logf("%d steps", step)
					if step < 10 {
						t.Errorf("only %d steps were reached", step)
					}
					return
				}
			}
		})
	}
}

// killedAt runs a pod's life with a fault at a step of it, and says whether that was reached.
func killedAt(t *testing.T, who string, step int) (reached bool) {
	t.Helper()
	n := newNode(t, cidr4)
	n.start(t, -1, 0)
	n.ready(t)
	resident := n.sandbox(t, "resident")
	if err := n.add(resident); err != nil {
		t.Fatal(err)
	}
	signal := unix.SIGSTOP
	if who == "agent" {
		signal = unix.SIGKILL
	}
	n.start(t, step, signal)
	n.ready(t)
	s := n.sandbox(t, "web")
	if err, fault := n.faulty(t, who, "ADD", s); err != nil {
		reached = reached || fault
		n.restart(t, fault)
		if err := n.del(s); err != nil {
			t.Errorf("DEL after a failed ADD: %v", err)
		}
		s.close()
		s = n.sandbox(t, "web")
		if err := n.add(s); err != nil {
			t.Fatalf("ADD of the next sandbox: %v\n%s", err, n.stderr)
		}
	} else {
		reached = reached || fault
		n.restart(t, fault)
	}
	reaches(t, s)
	distinct(t, []*sandbox{resident, s})
	err, fault := n.faulty(t, who, "DEL", s)
	reached = reached || fault
	n.restart(t, fault)
	if err != nil {
		if err := n.del(s); err != nil {
			t.Errorf("DEL again: %v", err)
		}
	}
	s.close()
	reaches(t, resident)
	n.start(t, -1, 0)
	n.ready(t)
	if err := n.del(resident); err != nil {
		t.Error(err)
	}
	resident.close()
	n.empty(t)
	return reached
}

// restart starts a sound agent where there was a fault.
func (n *node) restart(tb testing.TB, fault bool) {
	tb.Helper()
	if fault {
		n.start(tb, -1, 0)
		n.ready(tb)
	}
}

// faulty runs the plugin, and says whether the agent's step was reached. Where the agent stops there the plugin is killed and, of both, the
// agent as well.
func (n *node) faulty(tb testing.TB, who, command string, s *sandbox) (err error, fault bool) { //nolint:revive // both count
	tb.Helper()
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	var out []byte
	done := make(chan error, 1)
	go func() {
		var err error
		out, err = n.run(n.command(ctx, command, s))
		done <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err == nil && command == "ADD" {
				err = s.take(out)
			}
			// One that was killed lets go of its socket a moment before it is seen to be gone.
			for deadline := time.Now().Add(time.Second); err != nil && n.state() != 'Z' && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			return err, n.state() == 'Z'
		case <-tick.C:
			if n.state() != 'T' {
				continue
			}
			kill()
			err := <-done // The plugin is gone before the agent goes on.
			if who == "both" {
				n.kill()
			} else {
				_ = n.agent.Process.Signal(unix.SIGCONT)
				time.Sleep(20 * time.Millisecond) // It does what it was asked for, for nobody.
			}
			return err, true
		}
	}
}
