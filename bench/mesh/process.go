package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on every architecture that Go has.
const clockTick = 10 * time.Millisecond

// process is one of this machine's.
type process struct{ pid int }

// agentOf is the node's agent, which its tunnel process is not.
func agentOf(n *lab.Node) (process, error) {
	namespace, err := os.Stat(n.NetNS())
	if err != nil {
		return process{}, fmt.Errorf("looking at the namespace of %s: %w", n.Name, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return process{}, err
	}
	for _, dir := range all {
		its, err := os.Stat(filepath.Join(dir, "ns", "net"))
		if err != nil || !os.SameFile(its, namespace) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline")) //nolint:gosec // of /proc
		if err == nil && bytes.Contains(line, []byte("\x00--node-name\x00")) {
			pid, err := strconv.Atoi(filepath.Base(dir))
			return process{pid}, err
		}
	}
	return process{}, fmt.Errorf("%s has no agent", n.Name)
}

func (p process) file(name string) string { return filepath.Join("/proc", strconv.Itoa(p.pid), name) }

// memory is what the process has in memory now and had at most, in MiB.
func (p process) memory() (now, peak float64, err error) {
	content, err := os.ReadFile(p.file("status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kib, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return 0, 0, err
		}
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, errors.New("the process has no memory")
	}
	return now, peak, nil
}

// cpu is the processor time that the process has used so far, of its own and the kernel's.
func (p process) cpu() (time.Duration, error) {
	content, err := os.ReadFile(p.file("stat"))
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses and may hold anything. The third is the first of these.
	text := string(content)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return 0, fmt.Errorf("reading %s: %q", p.file("stat"), text)
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", p.file("stat"), err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}
