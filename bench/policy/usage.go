package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is in seconds: all of it is exact, the kernel's part is counted in ticks.
type processorTime struct{ all, kernel float64 }

// usage is what this process, or those that it has waited for, have used so far.
func usage(who int) (processorTime, error) {
	var used unix.Rusage
	if err := unix.Getrusage(who, &used); err != nil {
		return processorTime{}, fmt.Errorf("reading the process's time: %w", err)
	}
	kernel := time.Duration(used.Stime.Nano()).Seconds()
	return processorTime{time.Duration(used.Utime.Nano()).Seconds() + kernel, kernel}, nil
}

// memory is a figure of this process's memory, in MiB.
func memory(field string) (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("reading the process's memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == field {
			kib, err := strconv.ParseFloat(words[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("reading the process's memory: no %s", field)
}
