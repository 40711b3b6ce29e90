package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

// processors are those that one end of all paths runs on. Nodes are machines: where both ends shared all processors, each sample
// would depend on where the scheduler happened to put whom.
type processors []int

// halves gives each end one half of the processors that we may use, and both ends the same one where there is but one.
func halves() (ends [2]processors, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return ends, fmt.Errorf("asking which processors there are: %w", err)
	}
	var all processors
	for cpu := 0; len(all) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	middle := (len(all) + 1) / 2
	ends = [2]processors{all[:middle], all[middle:]}
	if len(ends[1]) == 0 {
		ends[1] = ends[0]
	}
	return ends, nil
}

func (p processors) String() string {
	numbers := make([]string, len(p))
	for i, cpu := range p {
		numbers[i] = strconv.Itoa(cpu)
	}
	return strings.Join(numbers, ",")
}

// take moves a thread onto the processors; 0 is the calling one.
func (p processors) take(thread int) error {
	var set unix.CPUSet
	for _, cpu := range p {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(thread, &set); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("choosing processors: %w", err)
	}
	return nil
}

// takeNode moves the processes of a node, which its pods' are not.
func (p processors) takeNode(n *lab.Node) error {
	processes, err := processesOf(n)
	if err != nil {
		return err
	}
	for _, process := range processes {
		threads, err := filepath.Glob(filepath.Join(process, "task", "*"))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(filepath.Base(thread))
			if err != nil {
				return err
			}
			if err := p.take(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// processesOf are the folders in /proc of the processes in a node's network namespace.
func processesOf(n *lab.Node) (own []string, err error) {
	namespace, err := os.Stat(n.NetNS())
	if err != nil {
		return nil, fmt.Errorf("looking at the namespace of %s: %w", n.Name, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, process := range all {
		its, err := os.Stat(filepath.Join(process, "ns", "net"))
		if err == nil && os.SameFile(its, namespace) { // else it may have ended
			own = append(own, process)
		}
	}
	return own, nil
}

// isTunnel says whether a process is a userspace WireGuard device.
func isTunnel(process string) bool {
	line, err := os.ReadFile(filepath.Join(process, "cmdline")) //nolint:gosec // of /proc
	return err == nil && bytes.Contains(line, []byte("\x00tunnel\x00"))
}
