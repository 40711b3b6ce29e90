package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// owner is the process that lives as long as a lab.
type owner struct {
	name string // the lab's
	down string // the command that ends it
}

// settled is the last line that the owner writes before it only waits.
const settled = "Ctrl-C ends it, from another terminal its `down`."

// detach starts the owner in the background, by our own arguments and --foreground, and shows what it says until the lab is up.
func (o owner) detach(ctx context.Context, out io.Writer) error {
	if err := os.MkdirAll(lab.Base(), 0o700); err != nil {
		return err
	}
	path := filepath.Join(lab.Base(), o.name+".log")
	if _, err := lab.LoadState(o.name); err == nil {
		if _, err := lab.Sweep(); err != nil { // it may be a dead one
			return err
		}
		if _, err := lab.LoadState(o.name); err == nil {
			return fmt.Errorf("lab %s is up already: `%s --name %s` ends it", o.name, o.down, o.name)
		}
		if err := os.MkdirAll(lab.Base(), 0o700); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // of the lab of that name
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	process := exec.CommandContext(context.WithoutCancel(ctx), self, append(os.Args[1:], "--foreground")...) //nolint:gosec // ourselves
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := process.Start(); err != nil {
		return fmt.Errorf("starting the lab's owner: %w", err)
	}
	return follow(ctx, process, path, out)
}

// follow copies the owner's log to out until the lab is up. If the owner ends before, or we are told to end, it is over.
func follow(ctx context.Context, owner *exec.Cmd, path string, out io.Writer) error {
	log, err := os.Open(path) //nolint:gosec // detach made it
	if err != nil {
		return err
	}
	defer log.Close()
	ended := make(chan error, 1)
	go func() { ended <- owner.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	w := &watcher{out: out}
	for {
		if _, err := io.Copy(w, log); err != nil {
			return err
		}
		if w.settled {
			return nil
		}
		select {
		case err := <-ended:
			_, copyErr := io.Copy(w, log)
			return errors.Join(fmt.Errorf("the lab did not come up: %w", err), copyErr, removeLog(path))
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), owner.Process.Signal(syscall.SIGTERM), <-ended, removeLog(path))
		case <-tick.C:
		}
	}
}

// removeLog removes the log of a lab that ended, which may have taken it along.
func removeLog(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
