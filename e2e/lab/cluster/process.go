package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is one program of the control plane. Its methods may be called on nil: it never started.
type process struct {
	name   string
	log    string
	offset int64 // in the log, where this run of it begins

	cmd  *exec.Cmd
	life context.Context // ends with the process; its cause is how
}

// nice is the priority of all of them: what is measured and tested beside them goes first.
const nice = "5"

func (c *Cluster) path(name string) string { return filepath.Join(c.options.Dir, name) }

// run starts a program of Assets with its output going to log/NAME.log.
func (c *Cluster) run(name string, args ...string) (*process, error) {
	return c.runProgram(filepath.Join(c.options.Assets, name), args...)
}

func (c *Cluster) runProgram(path string, args ...string) (*process, error) {
	name := filepath.Base(path)
	p := &process{name: name, log: c.path("log/" + name + ".log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if info, err := log.Stat(); err == nil {
		p.offset = info.Size()
	}
	// nice becomes the program: the process stays the same.
	args = append([]string{"-n", nice, path}, args...)
	p.cmd = exec.Command("nice", args...) //nolint:gosec,noctx // the control plane's programs; Stop ends them
	p.cmd.Dir = c.options.Dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for who started us
	if err := c.options.Start(p.cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", name, err), log.Close())
	}
	life, end := context.WithCancelCause(context.Background())
	p.life = life
	go func() {
		err := errors.Join(p.cmd.Wait(), log.Close())
		if err == nil {
			err = errors.New("exit status 0")
		}
		end(err)
	}()
	return p, nil
}

func (p *process) running() bool { return p != nil && p.life.Err() == nil }

// kill ends it and waits until it has.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	select {
	case <-p.life.Done():
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("killing %s: process %d is still there", p.name, p.cmd.Process.Pid)
	}
}

// retry is the pause between two looks at something that is not ready.
const retry = 25 * time.Millisecond

// ready calls check until it succeeds. It fails when the process ends or ctx does, with what the log says about it.
func (p *process) ready(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(retry)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		stop := context.AfterFunc(p.life, cancel) //nolint:contextcheck // the process ends on its own, not with ctx
		err := check(attempt)
		stop()
		cancel()
		switch {
		case p.life.Err() != nil:
			return fmt.Errorf("%s ended early: %w%s", p.name, context.Cause(p.life), p.explanation()) //nolint:contextcheck // as above
		case err == nil:
			return nil
		}
		select {
		case <-tick.C:
		case <-p.life.Done():
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w%s", p.name, context.Cause(ctx), err, p.explanation())
		}
	}
}
