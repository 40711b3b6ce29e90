package wg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/wg/internal/isolated"
	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

// node is a network namespace with a device in it.
type node struct {
	t      *testing.T
	name   string
	netns  int // file descriptor
	device *Device
	key    identity.PrivateKey
	// mode is what open uses unless told otherwise.
	mode Mode
	// messages counts what OnMessage said.
	messages int
}

// newNode makes a namespace. The name becomes part of its links' names.
func newNode(t *testing.T, name string, options Options) *node {
	t.Helper()
	isolated.Need(t)
	n := &node{t: t, name: name, key: identity.NewPrivateKey(), mode: options.Mode}
	if n.mode == "" {
		n.mode = Userspace
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.netns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(n.netns) })
	n.run("ip", "link", "set", "lo", "up")
	n.open(options)
	t.Cleanup(func() {
		n.in(func() {
			if _, err := Remove(); err != nil {
				t.Error(err)
			}
		})
	})
	return n
}

// everyMode runs a test on the userspace device, and on the kernel's where there is one.
func everyMode(t *testing.T, test func(t *testing.T, mode Mode)) {
	t.Helper()
	isolated.Need(t)
	kernel, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Userspace, Kernel} {
		t.Run(string(mode), func(t *testing.T) {
			if mode == Kernel && !kernel {
				t.Skip("this kernel has no WireGuard: make test-kernel runs this on one that has")
			}
			test(t, mode)
		})
	}
}

// open opens the device, as an agent that starts anew does.
func (n *node) open(options Options) {
	n.t.Helper()
	if options.Mode == "" {
		options.Mode = n.mode
	}
	options.LogDir = n.t.TempDir()
	options.OnMessage = func(sent int) { n.messages += sent }
	n.in(func() {
		device, err := New(options)
		if err != nil {
			n.t.Fatal(err)
		}
		n.device = device
	})
	n.t.Cleanup(func() { _ = n.device.Close() })
}

// in runs a function in the node's namespace.
func (n *node) in(f func()) {
	n.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		ok := false
		defer func() {
			if !ok { // f called FailNow
				done <- errors.New("failed in " + n.name)
			}
		}()
		if err := unix.Setns(n.netns, unix.CLONE_NEWNET); err != nil {
			ok = true
			done <- err
			return
		}
		f()
		ok = true
		done <- nil
	}()
	if err := <-done; err != nil {
		n.t.Fatal(err)
	}
}

// try runs a command in the node's namespace.
func (n *node) try(words ...string) (string, error) {
	n.t.Helper()
	var (
		out []byte
		err error
	)
	n.in(func() { out, err = exec.CommandContext(n.t.Context(), words[0], words[1:]...).CombinedOutput() })
	return string(out), err
}

func (n *node) run(words ...string) string {
	n.t.Helper()
	out, err := n.try(words...)
	if err != nil {
		n.t.Fatalf("%s: %s: %v\n%s", n.name, strings.Join(words, " "), err, out)
	}
	return out
}

// ping sends one packet and waits up to a second for the answer.
func (n *node) ping(to string) bool {
	n.t.Helper()
	_, err := n.try("ping", "-c1", "-W1", "-n", to)
	return err == nil
}

func (n *node) set(lane mesh.Lane, options SetOptions) error {
	n.t.Helper()
	var err error
	n.in(func() { err = n.device.Set(lane, n.key, options) })
	return err
}

func (n *node) mustSet(lane mesh.Lane) {
	n.t.Helper()
	if err := n.set(lane, SetOptions{Prune: true}); err != nil {
		n.t.Fatal(err)
	}
}

// sent is how many messages f sends.
func (n *node) sent(f func()) int {
	before := n.messages
	f()
	return n.messages - before
}

func (n *node) iface() string { return "lane" + n.name }

// lane is the node's with these peers.
func (n *node) lane(peers ...*mesh.Peer) mesh.Lane {
	return mesh.Lane{Name: n.iface(), PublicKey: n.key.Public(), ListenPort: 51820, MTU: 1420, Peers: peers}
}

// peer is the node as others have it.
func (n *node) peer(endpoint string, allowed ...string) *mesh.Peer {
	peer := &mesh.Peer{Node: n.name, PublicKey: n.key.Public()}
	if endpoint != "" {
		peer.Endpoint = netip.MustParseAddrPort(endpoint)
	}
	for _, prefix := range allowed {
		peer.AllowedIPs = append(peer.AllowedIPs, netip.MustParsePrefix(prefix))
	}
	return peer
}

func (n *node) status(key identity.PublicKey) PeerStatus {
	n.t.Helper()
	peers, err := n.device.Peers()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, peer := range peers {
		if peer.PublicKey == key {
			return peer
		}
	}
	n.t.Fatalf("%s has no peer %s", n.name, key)
	return PeerStatus{}
}

// up does mesh/route's part: address and route.
func (n *node) up(address, route string) {
	n.t.Helper()
	n.run("ip", "address", "replace", address, "dev", n.iface())
	n.run("ip", "link", "set", n.iface(), "up")
	n.run("ip", "route", "replace", route, "dev", n.iface())
}

// tunnelPID is the process that listens on the node's socket.
func (n *node) tunnelPID() int {
	n.t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: tunnel.SocketPath(n.iface())})
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.SyscallConn()
	if err != nil {
		n.t.Fatal(err)
	}
	var credentials *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil || err != nil {
		n.t.Fatal(cerr, err)
	}
	return int(credentials.Pid)
}

// signal ends the tunnel process and waits until its socket does not answer.
func (n *node) signal(signal unix.Signal) {
	n.t.Helper()
	if err := unix.Kill(n.tunnelPID(), signal); err != nil {
		n.t.Fatal(err)
	}
	if err := waitDead(n.iface()); err != nil {
		n.t.Fatal(err)
	}
}

// join connects two nodes with a veth, under0 on both sides.
func join(t *testing.T, a, b *node) {
	t.Helper()
	a.in(func() {
		target := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.netns)
		out, err := exec.CommandContext(t.Context(), "ip", "link", "add", "under0", "type", "veth",
			"peer", "name", "under0", "netns", target).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	a.run("ip", "link", "set", "under0", "up")
	b.run("ip", "link", "set", "under0", "up")
}

// eventually waits for something that becomes true soon.
func eventually(t *testing.T, what string, within time.Duration, f func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for time.Since(start) < within {
		if f() {
			return time.Since(start)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within %s: %s", within, what)
	return 0
}
