package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// node is the machine as a container runtime has it: an agent's folder, and the plugin.
type node struct {
	dir, cidrs string
	agent      *exec.Cmd
	stderr     *bytes.Buffer
	sandboxes  int
}

// program is the plugin, built once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "warren-cni-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, cni.PluginName)
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/warren-mesh/warren/cmd/warren-cni")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, out)
	}
	return path, nil
})

func newNode(tb testing.TB, cidrs ...string) *node {
	tb.Helper()
	if _, err := program(); err != nil {
		tb.Fatal(err)
	}
	n := &node{dir: tb.TempDir(), cidrs: strings.Join(cidrs, ",")}
	for _, words := range []string{"ip link set lo up", "ip addr replace 10.244.3.1/32 dev lo", "ip -6 addr replace fd00:10:244:3::1/128 dev lo", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"} {
		fields := strings.Fields(words)
		if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
			tb.Fatalf("%s: %v: %s", words, err, out)
		}
	}
	tb.Cleanup(n.kill)
	return n
}

func (n *node) socket() string { return filepath.Join(n.dir, "agent.sock") }

// start starts an agent. Where at is not negative it gets the signal at that step.
func (n *node) start(tb testing.TB, at int, signal unix.Signal) {
	tb.Helper()
	n.kill()
	n.stderr = &bytes.Buffer{}
	n.agent = exec.Command("/proc/self/exe")
	n.agent.Env = append(os.Environ(), roleEnv+"="+roleAgent, dirEnv+"="+n.dir, cidrsEnv+"="+n.cidrs,
		fmt.Sprintf("%s=%d", stepEnv, at), fmt.Sprintf("%s=%d", signalEnv, signal))
	n.agent.Env = slices.DeleteFunc(n.agent.Env, func(v string) bool { return v == roleEnv+"="+roleNode })
	n.agent.Stderr = n.stderr
	// Its end is the agent's. A signal at the parent's death would come with the death of one of its threads.
	if _, err := n.agent.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	if err := n.agent.Start(); err != nil {
		tb.Fatal(err)
	}
}

// ready waits until the agent answers, or is gone.
func (n *node) ready(tb testing.TB) (alive bool) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if n.answers() {
			return true
		}
		if state := n.state(); state == 'Z' {
			return false
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the agent does not answer\n%s", n.stderr)
		}
	}
}

func (n *node) answers() bool {
	_, err := cni.Ask(n.socket(), cni.Status, cni.Request{Config: json.RawMessage(`{"name":"warren"}`)}, time.Second)
	return err == nil
}

// state is the agent's process state: R, S, T for stopped, Z for one that has ended.
func (n *node) state() byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.agent.Process.Pid))
	if err != nil {
		return 'Z'
	}
	return text[bytes.LastIndexByte(text, ')')+2]
}

func (n *node) kill() {
	if n.agent != nil {
		_ = n.agent.Process.Kill()
		_ = n.agent.Wait()
	}
	n.agent = nil
}

// sandbox is one attempt to run a pod.
type sandbox struct {
	id, pod string
	netns   *os.File
	addrs   []netip.Addr
}

func (n *node) sandbox(tb testing.TB, pod string) *sandbox {
	tb.Helper()
	made := make(chan *os.File)
	go func() {
		defer close(made)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			return
		}
		if file, err := os.Open("/proc/thread-self/ns/net"); err == nil {
			made <- file
		}
	}()
	file := <-made
	if file == nil {
		tb.Fatal("making a network namespace failed")
	}
	n.sandboxes++
	return &sandbox{id: fmt.Sprintf("sandbox%d", n.sandboxes), pod: pod, netns: file}
}

func (s *sandbox) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.netns.Fd()) }

func (s *sandbox) close() { _ = s.netns.Close() }

// command is the plugin about to be run for a sandbox.
func (n *node) command(ctx context.Context, command string, s *sandbox) *exec.Cmd {
	path, _ := program()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{
		"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + s.id, "CNI_NETNS=" + s.path(), "CNI_IFNAME=eth0", "CNI_PATH=" + filepath.Dir(path),
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + s.pod,
	}
	cmd.Stdin = strings.NewReader(n.conf("1.1.0"))
	return cmd
}

func (n *node) conf(version string) string {
	return fmt.Sprintf(`{"cniVersion": %q, "name": "warren", "type": %q, "socket": %q}`, version, cni.PluginName, n.socket())
}

// run runs it to its end. What the plugin says is wrong is a *types.Error.
func (n *node) run(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var said types.Error
	if err != nil && json.Unmarshal(stdout.Bytes(), &said) == nil && said.Code != 0 {
		return nil, &said
	}
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), err
}

// add runs ADD, and remembers the addresses where it succeeds.
func (n *node) add(s *sandbox) error {
	out, err := n.run(n.command(context.Background(), "ADD", s))
	if err != nil {
		return err
	}
	return s.take(out)
}

func (s *sandbox) take(out []byte) error {
	result, err := types100.NewResult(out)
	if err != nil {
		return err
	}
	s.addrs = nil
	for _, ip := range result.(*types100.Result).IPs {
		a, _ := netip.AddrFromSlice(ip.Address.IP)
		s.addrs = append(s.addrs, a.Unmap())
	}
	return nil
}

func (n *node) del(s *sandbox) error {
	_, err := n.run(n.command(context.Background(), "DEL", s))
	return err
}

// leases reads what is on the disk; no agent may run.
func (n *node) leases(tb testing.TB) []ipam.Lease {
	tb.Helper()
	none := func() ([]ipam.Lease, error) { return nil, nil }
	store, err := journal.Open(filepath.Join(n.dir, journal.Folder), none, journal.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	return store.Leases()
}

// wires are the links of pods that the node has.
func wires(tb testing.TB) []string {
	tb.Helper()
	out, err := exec.Command("ip", "-o", "link", "show", "type", "veth").Output()
	if err != nil {
		tb.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ": wrp") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// settled gives the links of pods that the node has, once there are so many: what was retired goes within a second.
func settled(tb testing.TB, count int) []string {
	tb.Helper()
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		if w := wires(tb); len(w) == count || time.Now().After(deadline) {
			return w
		}
	}
}

// distinct fails the test where two sandboxes have an address in common.
func distinct(tb testing.TB, sandboxes []*sandbox) {
	tb.Helper()
	seen := map[netip.Addr]string{}
	for _, s := range sandboxes {
		for _, a := range s.addrs {
			if other, ok := seen[a]; ok {
				tb.Errorf("%s and %s both have %s", other, s.id, a)
			}
			seen[a] = s.id
		}
	}
}

func reaches(tb testing.TB, s *sandbox) {
	tb.Helper()
	for _, a := range s.addrs {
		if out, err := exec.Command("ping", "-n", "-q", "-c1", "-W2", a.String()).CombinedOutput(); err != nil {
			tb.Errorf("%s (%s) does not answer at %s: %s", s.id, s.pod, a, out)
		}
	}
}

// empty fails the test unless nothing is left: no lease, no wire, no request to delete. The agent has a moment to collect.
func (n *node) empty(tb testing.TB) {
	tb.Helper()
	var left error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		tombstones, err := os.ReadDir(cni.TombstoneDir(n.socket()))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		content, readErr := os.ReadFile(filepath.Join(n.dir, journal.Folder, journal.FileName))
		grants, releases := bytes.Count(content, []byte(`{"grant"`)), bytes.Count(content, []byte(`{"release"`))
		left = errors.Join(err, readErr)
		if w := wires(tb); len(w) > 0 {
			left = errors.Join(left, fmt.Errorf("wires: %s", w))
		}
		whole := slices.DeleteFunc(tombstones, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".tmp") })
		if len(whole) > 0 {
			left = errors.Join(left, fmt.Errorf("requests to delete: %v", whole))
		}
		if left == nil && grants == 0 || left == nil && grants <= releases || time.Now().After(deadline) {
			break
		}
	}
	if left != nil {
		tb.Errorf("something is left: %v\n%s", left, n.stderr)
	}
	n.kill()
	if leases := n.leases(tb); len(leases) > 0 {
		tb.Errorf("leases are left: %v", leases)
	}
}
