package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// figures are what one round found, by metric.
type figures map[string]float64

// tasks are what a worker can be asked for, each with two numbers.
var tasks = map[string]func(ctx context.Context, a, b int) (figures, error){scaleTask: scaleRound, elementTask: elementRound}

// workerCommand makes this program a worker, which does one task in a network namespace of its own and is gone with all that it made: what the
// kernel holds, and its memory, are of nothing else.
const workerCommand = "worker"

// isWorker says whether the command line is a worker's: what it is to do, and two numbers.
func isWorker(args []string) bool { return len(args) == 5 && args[1] == workerCommand }

// work does what the command line says, and writes what it found.
func work(ctx context.Context, args []string, out io.Writer) error {
	task, known := tasks[args[2]]
	a, errA := strconv.Atoi(args[3])
	b, errB := strconv.Atoi(args[4])
	if err := errors.Join(errA, errB); err != nil || !known {
		return errors.Join(fmt.Errorf("want a task and two numbers, not %q", args[2:]), err)
	}
	found, err := task(ctx, a, b)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(found)
}

// agentLike is what cmd/warrend sets for itself.
var agentLike = []string{"GOGC=50", "GOMAXPROCS=1"}

// ask has a worker do a task.
func ask(ctx context.Context, task string, a, b int) (figures, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	worker := exec.CommandContext(ctx, self, workerCommand, task, strconv.Itoa(a), strconv.Itoa(b)) //nolint:gosec // this program
	worker.Env = append(os.Environ(), agentLike...)
	worker.Stderr = os.Stderr
	worker.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := worker.Output()
	if err != nil {
		return nil, fmt.Errorf("%s of %d: %w", task, a, err)
	}
	var found figures
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("%s of %d: reading what was found: %w", task, a, err)
	}
	return found, nil
}
