package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ownerVariable makes the test binary a lab's owner, to be killed.
const ownerVariable = "WARREN_LAB_TEST_OWNER"

// TestOwner is not a test but the process that TestKilledOwnerLeavesNothing kills.
func TestOwner(t *testing.T) {
	name := os.Getenv(ownerVariable)
	if name == "" {
		t.Skip("it is started by TestKilledOwnerLeavesNothing only")
	}
	options := bare(2, IPv4)
	options.Name = name
	l, err := Start(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	addPod(t, l.Node("n1"), "p1")
	// One that is our child, and one that is an orphan in a session of its own.
	n := l.Node("n1")
	if err := n.Command(context.Background(), "sleep", "1000").Start(); err != nil {
		t.Fatal(err)
	}
	shell(t, n, "setsid sleep 1000 > /dev/null 2>&1 &")
	inodes, err := l.inodes()
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(inodes)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(os.Stdout, "inodes %s\n", line)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is gone, if it does not kill us
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestKilledOwnerLeavesNothing(t *testing.T) {
	name := testName(t.Name())
	options := bare(0, IPv4)
	if err := options.findPrograms(t.Context()); err != nil { // once, not in the owner again
		t.Fatal(err)
	}
	owner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOwner$")
	owner.Env = append(os.Environ(), ownerVariable+"="+name, BinVariable+"="+options.Bin)
	stdin, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	var inodes []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if line, ok := strings.CutPrefix(lines.Text(), "inodes "); ok {
			if err := json.Unmarshal([]byte(line), &inodes); err != nil {
				t.Fatal(err)
			}
			break
		}
		t.Log(lines.Text())
	}
	before, err := residents(inodes)
	if err != nil || len(before) != 3 || len(inodes) != 4*4 { // init, a child of the owner, an orphan
		t.Fatalf("residents %v of %v: %v", before, inodes, err)
	}
	state, err := LoadState(name)
	if err != nil {
		t.Fatal(err)
	}
	if !state.Ready || !state.Owner.Alive() || !state.Init.Alive() || len(state.Hosts) != 4 {
		t.Errorf("state %+v", state)
	}
	dir := filepath.Join(Base(), name)

	end := time.Now()
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed, and says so
	if err := state.Init.waitGone(5 * time.Second); err != nil {
		t.Error(err)
	}
	swept, err := Sweep()
	if err != nil || !slices.Contains(swept, name) {
		t.Errorf("swept %v, %v; want %s among them", swept, err, name)
	}
	assertGone(t, dir, inodes, end)
}

func TestALivingLabIsKnown(t *testing.T) {
	l := New(t, bare(1, IPv4))
	other := bare(1, IPv4)
	other.Name = l.options.Name
	if _, err := Start(t.Context(), other); err == nil || !strings.Contains(err.Error(), "up already") {
		t.Errorf("a second lab of that name: %v", err)
	}
	if swept, err := Sweep(); err != nil || slices.Contains(swept, l.options.Name) {
		t.Errorf("swept %v, %v; a living lab is to be left", swept, err)
	}
	host, err := mustLoad(t, l.options.Name).Open("n1")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if out, err := host.Run(t.Context(), "hostname"); err != nil || out != "n1\n" {
		t.Errorf("as another process would: %q %v", out, err)
	}
}

func mustLoad(t *testing.T, name string) State {
	t.Helper()
	s, err := LoadState(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The check that nothing is left must be able to fail.
func TestStartedBefore(t *testing.T) {
	start := time.Now()
	cmd := exec.CommandContext(t.Context(), "sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if !startedBefore(pid, time.Now().Add(time.Second)) || startedBefore(pid, start.Add(-time.Second)) {
		t.Error("the start time of a process is misread")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed, and says so
	if startedBefore(pid, time.Now().Add(time.Second)) {
		t.Error("a process that is gone is found")
	}
}
