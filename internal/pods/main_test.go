package pods

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/guard"
)

// What a process of these tests is: the one with the tests, in a network namespace of its own, or an agent of that node.
const (
	roleEnv   = "WARREN_TEST_ROLE"
	roleNode  = "node"
	roleAgent = "agent"
)

// The agent is told by its environment where it works, which addresses it has and, if any, at which of its steps something happens.
const (
	dirEnv    = "WARREN_TEST_DIR"
	cidrsEnv  = "WARREN_TEST_CIDRS"
	stepEnv   = "WARREN_TEST_STEP"
	signalEnv = "WARREN_TEST_SIGNAL"
)

// faster is by how much the agent's clock is: cool-downs and observations take a hundredth of the time.
const faster = 100

// The first thread of a process never ends, and a sandbox that was made on it would not either: it is main's alone.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // later it may be on another thread

func TestMain(m *testing.M) {
	flag.Parse()
	switch os.Getenv(roleEnv) {
	case roleNode:
		os.Exit(m.Run())
	case roleAgent:
		fmt.Fprintln(os.Stderr, "agent:", agent())
		os.Exit(1)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: they have to be run by root")
		os.Exit(1)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+roleNode)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// backend is an agent of which only the CNI plugin is served.
type backend struct {
	socket.Backend
	pods *Pods
}

func (b backend) Pods(ctx context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	return b.pods.Call(ctx, command, r)
}

// newGuard is that of the real agent, with a plan that does not change.
func newGuard() (*guard.Guard, error) {
	g, err := guard.New(guard.Options{})
	if err != nil {
		return nil, err
	}
	given, err := podnet.Given()
	if err != nil {
		return nil, err
	}
	return g, errors.Join(g.SetPods(given), g.Set(mesh.Guard{}))
}

// agent does for pods what the real one does, until it is killed: by itself where a step was named.
func agent() error {
	dir := os.Getenv(dirEnv)
	var cidrs []netip.Prefix
	for text := range strings.SplitSeq(os.Getenv(cidrsEnv), ",") {
		cidrs = append(cidrs, netip.MustParsePrefix(text))
	}
	step, err := strconv.Atoi(os.Getenv(stepEnv))
	if err != nil {
		step = -1
	}
	signal, _ := strconv.Atoi(os.Getenv(signalEnv))
	var steps atomic.Int64
	onStep := func(string) {
		if steps.Add(1)-1 == int64(step) {
			_ = unix.Kill(os.Getpid(), unix.Signal(signal))
			time.Sleep(time.Millisecond) // A signal to a thread takes effect when it leaves the kernel; others may run on.
		}
	}
	none := func() ([]ipam.Lease, error) { return nil, nil }
	leases, err := journal.Open(filepath.Join(dir, journal.Folder), none, journal.Options{OnStep: onStep})
	if err != nil {
		return err
	}
	guard, err := newGuard()
	if err != nil {
		return err
	}
	begin := time.Now()
	p := New(Options{
		Leases: leases, Guard: guard, OnStep: onStep,
		Network: func() (Network, error) { return Network{CIDRs: cidrs, MTU: 1400}, nil },
		// Its time begins with the real one, so that what agents before it wrote is in the past.
		Now: func() time.Time { return begin.Add(faster * time.Since(begin)) },
	})
	path := filepath.Join(dir, "agent.sock")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	go func() {
		for ; ; time.Sleep(20 * time.Millisecond) {
			if err := p.CollectTombstones(context.Background(), cni.TombstoneDir(path)); err != nil {
				fmt.Fprintln(os.Stderr, "agent: collecting:", err)
			}
			if _, err := p.Collect(); err != nil {
				fmt.Fprintln(os.Stderr, "agent: collecting:", err)
			}
		}
	}()
	return socket.Serve(context.Background(), path, backend{pods: p})
}
