package pods

import (
	"context"
	"flag"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	chaosFaults = flag.Int("chaos.faults", 0, "how many times agent and plugin are killed at random")
	chaosSeed   = flag.Uint64("chaos.seed", 0, "seed of what happens (0: another each time)")
)

// chaosPods is how many pods there are at most at a time.
const chaosPods = 12

// TestChaos kills the agent and the plugin at random, many times, while pods come and go.
func TestChaos(t *testing.T) {
	faults := *chaosFaults
	if faults == 0 {
		faults = 10
	}
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	c := &chaos{t: t, r: rand.New(rand.NewPCG(seed, 0)), node: newNode(t, cidr4, "fd00:10:244:3::/64")}
	c.start(t, -1, 0)
	c.ready(t)
	for c.faults < faults && !t.Failed() {
		c.turn()
	}
	c.start(t, -1, 0)
	c.ready(t)
	for _, s := range c.live {
		reaches(t, s)
		if err := c.del(s); err != nil {
			t.Error(err)
		}
		s.close()
	}
	c.empty(t)
	t.Logf("%d faults: %v", c.faults, c.counts)
}

type chaos struct {
	*node
	t      *testing.T
	r      *rand.Rand
	live   []*sandbox
	faults int
	counts [4]int
}

// turn is one pod's coming or going, with or without a fault.
func (c *chaos) turn() {
	kind := c.r.IntN(4)
	c.counts[kind]++
	if kind == 1 { // the agent will die at some step of its own
		c.start(c.t, c.r.IntN(12), unix.SIGKILL)
		c.ready(c.t)
		c.faults++
	}
	grow := len(c.live) == 0 || len(c.live) < chaosPods && c.r.IntN(2) == 0
	if grow {
		c.grow(kind)
	} else {
		c.shrink(kind)
	}
	if kind == 1 || kind == 3 || c.r.IntN(8) == 0 {
		c.start(c.t, -1, 0)
		c.ready(c.t)
	}
	distinct(c.t, c.live)
}

func (c *chaos) grow(kind int) {
	s := c.sandbox(c.t, "web-"+string(rune('a'+c.r.IntN(26))))
	for _, other := range c.live {
		if other.pod == s.pod {
			s.close()
			return // Kubernetes has each name once.
		}
	}
	out, err := c.run(c.doomed(kind, "ADD", s))
	if err == nil {
		err = s.take(out)
	}
	if err == nil {
		c.live = append(c.live, s)
		return
	}
	c.gone(s)
}

func (c *chaos) shrink(kind int) {
	i := c.r.IntN(len(c.live))
	s := c.live[i]
	c.live = append(c.live[:i:i], c.live[i+1:]...)
	if _, err := c.run(c.doomed(kind, "DEL", s)); err != nil {
		c.gone(s)
		return
	}
	s.close()
}

// gone is what a runtime does until it succeeds; now and then it is rebooted first, and forgets.
func (c *chaos) gone(s *sandbox) {
	defer s.close()
	if c.r.IntN(10) == 0 {
		return
	}
	if err := c.del(s); err != nil {
		c.t.Errorf("DEL after what failed: %v\n%s", err, c.stderr)
	}
}

// doomed is the plugin, which is killed after a moment; or its agent is, by another hand.
func (c *chaos) doomed(kind int, command string, s *sandbox) *exec.Cmd {
	after := time.Duration(c.r.Int64N(int64(15 * time.Millisecond)))
	switch kind {
	case 2:
		c.faults++
		ctx, cancel := context.WithTimeout(context.Background(), after)
		c.t.Cleanup(cancel)
		return c.command(ctx, command, s)
	case 3:
		c.faults++
		process := c.agent.Process
		time.AfterFunc(after, func() { _ = process.Kill() })
	}
	return c.command(context.Background(), command, s)
}
