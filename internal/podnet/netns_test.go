package podnet

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const testMTU = 1400

// node puts the rest of the test into a network namespace of its own: a node that forwards, checks reverse paths strictly, and
// has an uplink with an address of each family. The thread is never unlocked, so it ends with the test.
func node(tb testing.TB) {
	tb.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Fatalf("making a network namespace (needs root): %v", err)
	}
	for _, set := range []string{
		"net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1",
	} {
		run(tb, "sysctl -qw "+set)
	}
	run(tb, "ip link set lo up")
	run(tb, "ip link add uplink type veth peer name outside")
	run(tb, "ip link set uplink up addrgenmode none")
	run(tb, "ip link set outside up addrgenmode none")
	run(tb, "ip addr add 192.0.2.1/24 dev uplink")
	run(tb, "ip addr add 2001:db8::1/64 dev uplink nodad")
}

// run runs a command in the node's namespace, and gives what it prints, each line without trailing spaces.
func run(tb testing.TB, command string) string {
	tb.Helper()
	out, err := try(command)
	if err != nil {
		tb.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

func try(command string) (string, error) {
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	var text strings.Builder
	for line := range strings.Lines(string(out)) {
		text.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return text.String(), err
}

// pod is a network namespace and what it is to be given.
type pod struct {
	Spec
	*Sandbox
}

func newPod(tb testing.TB, name string, addrs ...string) *pod {
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
		tb.Fatal("making a pod's network namespace failed")
	}
	tb.Cleanup(func() { _ = file.Close() })
	p := &pod{Sandbox: &Sandbox{file}, Spec: Spec{
		NetNS:     fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()),
		Interface: "eth0", Namespace: "default", Name: name, MTU: testMTU,
	}}
	for _, a := range addrs {
		p.Addresses = append(p.Addresses, netip.MustParseAddr(a))
	}
	return p
}

// attach attaches the pod, and detaches it at the end of the test.
func (p *pod) attach(tb testing.TB) Result {
	tb.Helper()
	result, err := Attach(p.Spec)
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

// in is a command in the pod.
func (p *pod) in(command string) string { return "nsenter --net=" + p.NetNS + " " + command }

func same(tb testing.TB, what, got, want string) {
	tb.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// state is all of the node's and the pods' that Attach might change.
func state(tb testing.TB, pods ...*pod) []string {
	tb.Helper()
	commands := []string{"ip -o link show", "ip -o addr show", "ip -4 route show table all", "ip -6 route show table all", "ip neigh show"}
	var texts []string
	for _, c := range commands {
		texts = append(texts, run(tb, c))
		for _, p := range pods {
			texts = append(texts, run(tb, p.in(c)))
		}
	}
	return texts
}
