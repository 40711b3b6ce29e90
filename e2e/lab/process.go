package lab

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one process of the machine, told from a later one that got the same PID.
type Process struct {
	PID int `json:"pid"`
	// Start is its start time, in clock ticks since the boot: field 22 of /proc/PID/stat.
	Start uint64 `json:"start"`
}

// findProcess says who has the PID now.
func findProcess(pid int) (Process, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, fmt.Errorf("reading the start time of process %d: %w", pid, err)
	}
	// The second field is a name in parentheses and may hold anything.
	text := string(content)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const start = 22 - 3 // the third field is the first of these
	if len(fields) <= start {
		return Process{}, fmt.Errorf("reading the start time of process %d: %q", pid, text)
	}
	ticks, err := strconv.ParseUint(fields[start], 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("reading the start time of process %d: %w", pid, err)
	}
	if fields[0] == "Z" {
		return Process{}, fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH)
	}
	return Process{PID: pid, Start: ticks}, nil
}

// Alive says whether it is still this process.
func (p Process) Alive() bool {
	now, err := findProcess(p.PID)
	return err == nil && now == p && p.PID > 0
}

// signal sends it a signal. One that is gone is no error.
func (p Process) signal(s unix.Signal) error {
	if !p.Alive() {
		return nil
	}
	if err := unix.Kill(p.PID, s); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signalling process %d: %w", p.PID, err)
	}
	return nil
}

// waitGone waits until it has ended.
func (p Process) waitGone(patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for p.Alive() {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d is still there after %s", p.PID, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// startedBefore says whether a process that is there started before then.
func startedBefore(pid int, then time.Time) bool {
	p, err := findProcess(pid)
	if err != nil {
		return false
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return true
	}
	const tick = time.Second / 100 // USER_HZ, the same on all machines that Go knows
	boot := time.Now().Add(-time.Duration(now.Nano()))
	return boot.Add(time.Duration(p.Start) * tick).Before(then) //nolint:gosec // centuries
}
