package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Cmd is a command inside a [Host]. It is used as an exec.Cmd is; its process is a child of this one, and its PID this
// process's view of it.
type Cmd struct {
	*exec.Cmd
	// Started is when the command itself was started: after the way into the host's namespaces, which is no part of it.
	Started time.Time
	host    *Host

	once sync.Once
	err  error
}

// Start starts the command.
func (c *Cmd) Start() error {
	var err error
	if c.Started, err = c.host.startTimed(c.Cmd); err != nil {
		return err
	}
	c.host.children.add(c)
	return nil
}

// Wait waits for the command to end, as exec.Cmd's Wait does. It may be called more than once.
func (c *Cmd) Wait() error {
	c.once.Do(func() {
		c.err = c.Cmd.Wait()
		c.host.children.remove(c)
	})
	return c.err
}

// Run starts the command and waits for it to end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to its standard output; what it wrote to its standard error is in
// the error.
func (c *Cmd) Output() ([]byte, error) {
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("%s: running %s: %w: %s", c.host.Name, strings.Join(c.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	err := c.Run()
	return both.Bytes(), err
}

// start starts any command in the host's namespaces.
func (h *Host) start(cmd *exec.Cmd) error {
	_, err := h.startTimed(cmd)
	return err
}

// startTimed says when it did.
func (h *Host) startTimed(cmd *exec.Cmd) (at time.Time, err error) {
	err = onThread(func() error {
		if err := h.ns.enter(kinds...); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		at = time.Now()
		return cmd.Start()
	})
	return at, err
}

// children are the commands under way: init cannot end before they have been waited for.
type children struct {
	mu  sync.Mutex
	all map[*Cmd]bool
}

func (c *children) add(cmd *Cmd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[*Cmd]bool{}
	}
	c.all[cmd] = true
}

func (c *children) remove(cmd *Cmd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, cmd)
}

// waitAll waits for all, whose end somebody else has brought about.
func (c *children) waitAll() {
	c.mu.Lock()
	left := make([]*Cmd, 0, len(c.all))
	for cmd := range c.all {
		left = append(left, cmd)
	}
	c.mu.Unlock()
	for _, cmd := range left {
		go func() { _ = cmd.Wait() }() // they were killed, and say so
	}
}

// grace is how long a command's output is read on after its context has ended.
const grace = 2 * time.Second

// Command is a command inside the host. Programs of the lab's Bin folder go before those of PATH. It runs in "/" where Dir is
// not set.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	cmd := exec.CommandContext(ctx, h.lookup(name), args...) //nolint:gosec // a test's own commands
	cmd.Env = h.environ()
	cmd.Dir = "/"
	cmd.WaitDelay = grace
	return &Cmd{Cmd: cmd, host: h}
}

// Run runs a command inside the host and returns its standard output. An error has its standard error.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := h.Command(ctx, name, args...).Output()
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return string(out), err
}
