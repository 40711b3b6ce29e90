package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/mesh"
)

const (
	// clockBar is how long a node whose clock stepped back may be out of the mesh. Emulation multiplies it.
	clockBar = 10 * time.Second
	// clockStep is how far the clock steps: less than an hour, which is the age of a lab's certificates.
	clockStep = 50 * time.Minute
	// clockControl is how long the node stays out where nobody helps it.
	clockControl = time.Minute
	// clockQuiet is how long nothing is sent before the clock steps. Who sent something to a peer and hears nothing of it for 15 s
	// begins a session with it (section 6 of WireGuard's paper), and what n2 begins n1's clock does not matter to; so n1 has to have sent
	// its passive keepalive, which it does after 10 s.
	clockQuiet = 20 * time.Second
	// clockPatience is how long to wait for what has no bar. Emulation multiplies it.
	clockPatience = time.Minute
)

// clocks makes a cluster of two machines, steps the clock of one back, and wants it back in the mesh in time.
func clocks(ctx context.Context, o options, k kernel, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the machines were ended after %s", o.timeout))
	defer cancel()
	c := &clockTrial{bar: clockBar, patience: clockPatience, out: out}
	if o.accel != kvm {
		c.bar, c.patience = emulationFactor*clockBar, emulationFactor*clockPatience
		fmt.Fprintf(out, "emulation: the bar of %s is multiplied by %d\n", clockBar, emulationFactor)
	}
	return withDuo(ctx, o, k, out, func(d *duo) error {
		c.duo = d
		err := c.try(ctx)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w\n%s", err, d.logs())
		}
		return err
	})
}

// clockTrial is what is done to the clock of n1. Only n1's pod pings: n2, which could call n1 at any time, has no reason to.
type clockTrial struct {
	*duo
	bar, patience time.Duration
	out           io.Writer
}

func (c *clockTrial) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

func (c *clockTrial) try(ctx context.Context) error {
	for _, n := range []*node{c.n1, c.n2} {
		if err := n.startAgent(duoPods, duoServices); err != nil {
			return err
		}
	}
	took, err := c.n1.awaitPing(c.to, c.patience)
	if err != nil {
		return fmt.Errorf("the mesh never came up: %w", err)
	}
	c.say("two machines, a node each; their pods connected after %s", took)
	if err := c.control(ctx); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if err := c.n2.startAgent(duoPods, duoServices); err != nil {
		return err
	}
	if err := c.withoutSessions(ctx); err != nil {
		return fmt.Errorf("a step back, and no session: %w", err)
	}
	if err := c.withSessions(); err != nil {
		return fmt.Errorf("a step back under traffic: %w", err)
	}
	return c.said(ctx, "3") // the control's too
}

// begin has n1 begin a session while its clock is right: that is the time which n2 remembers of it.
func (c *clockTrial) begin() error {
	if err := c.n1.deleteDevice(); err != nil {
		return err
	}
	if _, err := c.n1.awaitPing(c.to, c.patience); err != nil {
		return fmt.Errorf("there was no mesh before: %w", err)
	}
	return nil
}

// control shows that n1 stays out while n2 has no agent, and that its clock is the reason: it comes back with the time.
func (c *clockTrial) control(ctx context.Context) error {
	if err := errors.Join(c.begin(), c.n2.stopAgent()); err != nil {
		return err
	}
	if err := c.stepBackAlone(ctx); err != nil {
		return err
	}
	took, err := c.n1.awaitPing(c.to, clockControl)
	if err == nil {
		return fmt.Errorf("it was back after %s without the other's agent, so this shows nothing", took)
	}
	c.say("control: its clock %s back and the other without an agent, it was out for all of %s", clockStep, took)
	if err := c.n1.setClock(time.Now()); err != nil {
		return err
	}
	if took, err = c.n1.awaitPing(c.to, c.patience); err != nil {
		return fmt.Errorf("it did not come back with its time: %w", err)
	}
	c.say("control: back %s after its clock was right again", took)
	return nil
}

// withoutSessions steps n1's clock back beside a whole mesh, when nobody has a session with it, as after a reboot.
func (c *clockTrial) withoutSessions(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	if err := c.stepBackAlone(ctx); err != nil {
		return err
	}
	took, err := c.back()
	if err != nil {
		return err
	}
	c.say("its clock %s back and its sessions lost, it was back in the mesh after %s (bar %s)", clockStep, took, c.bar)
	return c.n1.setClock(time.Now())
}

// withSessions steps n1's clock back under traffic, as a time server does. The session that there is would do for two minutes more;
// in time there has to be a new one.
func (c *clockTrial) withSessions() error {
	if err := c.begin(); err != nil {
		return err
	}
	before, err := c.n2.handshakes()
	if err != nil {
		return err
	}
	if err := c.n1.setClock(time.Now().Add(-clockStep)); err != nil {
		return err
	}
	renewed, waited, err := c.renewed(before)
	if err != nil {
		return err
	}
	c.say("its clock %s back under traffic, it had a new session after %s (bar %s), and waited at most %s for an answer",
		clockStep, renewed, c.bar, waited)
	return nil
}

// renewed pings until n2 has a session with n1 that is not the one of before, and once in that. It is how long the session took, and
// the longest wait for an answer.
func (c *clockTrial) renewed(before string) (renewed, waited time.Duration, err error) {
	for start := time.Now(); ; {
		took, err := c.back()
		if err != nil {
			return 0, 0, err
		}
		waited = max(waited, took)
		if renewed != 0 {
			return renewed, waited, nil
		}
		now, err := c.n2.handshakes()
		since := time.Since(start).Round(time.Millisecond)
		switch {
		case err != nil:
			return 0, 0, err
		case since > c.bar:
			return 0, 0, fmt.Errorf("after %s there is no new session", since)
		case now != before && !strings.HasSuffix(now, "\t0\n"): // 0 is no session
			renewed = since
		}
	}
}

// back waits until n1 is in the mesh, for as long as it may take.
func (c *clockTrial) back() (took time.Duration, err error) {
	if took, err = c.n1.awaitPing(c.to, c.bar); err == nil && took > c.bar {
		err = errors.New("an answer that is too late")
	}
	if err != nil {
		err = fmt.Errorf("not back in the mesh in %s, want %s: %w", took, c.bar, err)
	}
	return took, err
}

// stepBackAlone steps n1's clock back and takes its sessions, after a silence.
func (c *clockTrial) stepBackAlone(ctx context.Context) error {
	select {
	case <-time.After(clockQuiet):
		return c.n1.stepBackAlone(clockStep)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// said checks how many steps back n1's claim has.
func (c *clockTrial) said(ctx context.Context, want string) error {
	n, err := c.lab.Cluster().Admin().CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if got := n.Annotations[mesh.AnnotationClockSteps]; got != want {
		return fmt.Errorf("its claim says that its clock went back %q times, want %s", got, want)
	}
	return nil
}
