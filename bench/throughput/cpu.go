package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on every architecture that Go has.
const clockTick = 10 * time.Millisecond

// tunnelCPU is the processor time that the tunnel processes of a path's two nodes have used so far. It is 0 where the kernel has
// the device.
func tunnelCPU(p path) (time.Duration, error) {
	var total time.Duration
	for _, n := range p.nodes {
		processes, err := processesOf(n)
		if err != nil {
			return 0, err
		}
		for _, process := range processes {
			if !isTunnel(process) {
				continue
			}
			used, err := processCPU(process)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			total += used
		}
	}
	return total, nil
}

// processCPU reads fields 14 and 15 of a process's stat: its time in user mode and in the kernel.
func processCPU(process string) (time.Duration, error) {
	content, err := os.ReadFile(filepath.Join(process, "stat")) //nolint:gosec // of /proc
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses and may hold anything. The third is the first of these.
	text := string(content)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return 0, fmt.Errorf("reading %s/stat: %q", process, text)
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s/stat: %w", process, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}
