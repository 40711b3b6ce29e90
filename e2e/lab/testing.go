package lab

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab/wire"
)

// New starts a lab for a test. When the test ends so does the lab, and the test fails if a process or a namespace of it is
// left. Where the test failed the agents' logs are shown first.
func New(tb testing.TB, options Options) *Lab {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("a lab makes network namespaces: the test has to be run by root")
	}
	if options.Name == "" {
		options.Name = testName(tb.Name())
	}
	if options.Out == nil {
		options.Out = tb.Output()
	}
	l, err := Start(tb.Context(), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			for _, n := range l.Nodes() {
				tb.Log(n.logTail())
			}
		}
		inodes, err := l.inodes()
		if err != nil {
			tb.Error(err)
		}
		end := time.Now()
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
		assertGone(tb, l.dir, inodes, end)
	})
	return l
}

// testName makes a lab's name of a test's, unlike that of any other test under way.
func testName(test string) string {
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(test), "-")
	return fmt.Sprintf("%s-%d", strings.Trim(name[:min(len(name), 50)], "-"), os.Getpid())
}

// inodes are the namespaces of all hosts.
func (l *Lab) inodes() ([]string, error) {
	hosts := append([]*Host{l.Switch()}, append(NodeHosts(l.Nodes()), PodHosts(l.Pods())...)...)
	var all []string
	for _, h := range hosts {
		names, err := h.ns.inodes()
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	return all, nil
}

// assertGone fails the test if a lab's folder is left or, in its namespaces, a process from before its end: the kernel gives
// the numbers of namespaces that are gone to the next ones, such as another lab's.
func assertGone(tb testing.TB, dir string, inodes []string, end time.Time) {
	tb.Helper()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		tb.Errorf("the lab's folder is left: %v", err)
	}
	var left map[int][]string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if left, err = residents(inodes); err != nil {
			tb.Error(err)
		}
		maps.DeleteFunc(left, func(pid int, _ []string) bool { return !startedBefore(pid, end) })
		if len(left) == 0 {
			return
		}
	}
	for pid, names := range left {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone meanwhile, perhaps
		tb.Errorf("process %d (%s) is left in %s", pid, strings.ReplaceAll(string(line), "\x00", " "), strings.Join(names, ", "))
	}
}

// AssertClean fails the test unless the capture is whole and proven, saw WireGuard's data and no pod address in clear.
func (c *Capture) AssertClean(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
	defer cancel()
	leaks, err := c.Leaks(ctx)
	if err != nil {
		tb.Error(err)
	}
	const most = 20
	for _, leak := range leaks[:min(len(leaks), most)] {
		tb.Errorf("in clear on the underlay: %s", leak)
	}
	if len(leaks) > most {
		tb.Errorf("and %d more", len(leaks)-most)
	}
	if c.WireGuardPackets(wire.Data) == 0 {
		tb.Error("the capture saw no WireGuard data at all")
	}
}
