package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// attackPolicy lets b, of the same node, and c, of another, reach a; g, of the same node, and d, of another, do not.
var attackPolicy = np("x", "attack", `podSelector: {matchLabels: {app: a}}
ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [b, c]}]}}]}]`)

var attackAllowed, attackForbidden = []string{"b", "c"}, []string{"g", "d"}

// TestPolicyUnderAttack: whatever happens to agents, the API server and other policies and pods, not one packet passes of what policy forbids, and not
// one is lost of what it allows: numbered datagrams, a thousand a second, and TCP connections without a pause, on the same node and over the mesh.
func TestPolicyUnderAttack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(8*time.Minute))
	defer cancel()
	s := policyScene(ctx, t)
	s.addPolicyPod(ctx, t, "n1", "x", "g")
	n1, n2 := s.Node("n1"), s.Node("n2")
	a := s.attack(ctx, t, attackForbidden)
	pause(ctx, time.Second)
	if got := a.stop(t); got.passed == 0 || got.connected == 0 {
		t.Fatalf("before there is a policy the attackers do not get through: %+v", got)
	}
	if err := s.Cluster().Apply(ctx, []byte(attackPolicy)); err != nil {
		t.Fatal(err)
	}
	s.reach(ctx, t, "g>a", "d>a", "e>a")
	start := func(n *lab.Node) error { return errors.Join(n.StartAgent(ctx), n.WaitReady(ctx)) }
	for _, event := range []struct {
		name   string
		happen func() error
	}{
		{"nothing happens", func() error { pause(ctx, 2*time.Second); return nil }},
		{"agent stopped, 3 s without one", func() error {
			err := n1.StopAgent(ctx)
			pause(ctx, 3*time.Second)
			return errors.Join(err, start(n1))
		}},
		{"agent restarted", func() error { return errors.Join(n1.StopAgent(ctx), start(n1)) }},
		{"agent killed (SIGKILL) and started", func() error { return errors.Join(n1.KillAgent(), start(n1)) }},
		{"both nodes' agents killed five times, at any moment", func() (err error) {
			for i := range 5 {
				err = errors.Join(err, n1.KillAgent(), n2.KillAgent(), n1.StartAgent(ctx), n2.StartAgent(ctx))
				pause(ctx, time.Duration(i)*150*time.Millisecond)
			}
			return errors.Join(err, n1.WaitReady(ctx), n2.WaitReady(ctx))
		}},
		{"agent restarted without the API server", func() error {
			err := errors.Join(s.Cluster().StopAPIServer(), n1.StopAgent(ctx), n1.StartAgent(ctx))
			pause(ctx, 2*time.Second)
			return errors.Join(err, s.Cluster().StartAPIServer(ctx), n1.WaitReady(ctx))
		}},
		{"API server stopped for 5 s", func() error {
			err := s.Cluster().StopAPIServer()
			pause(ctx, 5*time.Second)
			return errors.Join(err, s.Cluster().StartAPIServer(ctx))
		}},
		{"full resync: every Node changed, and all listed anew", func() error { return resync(ctx, s) }},
		{"audit of the whole table, with something strange in it", func() error {
			for i := range 5 {
				if _, err := n1.Run(ctx, "nft", "add", "chain", "inet", "warren-policy", fmt.Sprintf("stray%d", i)); err != nil {
					return err
				}
				pause(ctx, 300*time.Millisecond)
			}
			left := func() error {
				table, err := n1.Run(ctx, "nft", "list", "table", "inet", "warren-policy")
				if err == nil && strings.Contains(table, "stray") {
					err = errors.New("what is strange was not taken away")
				}
				return err
			}
			eventually(ctx, t, 5*time.Second, left)
			return nil
		}},
		{"policies come and go, of these pods and others", func() error { return s.policiesComeAndGo(ctx) }},
		{"policies come and go while the agent is killed", func() error {
			return errors.Join(n1.KillAgent(), s.policiesComeAndGo(ctx), n1.StartAgent(ctx), s.policiesComeAndGo(ctx), n1.WaitReady(ctx))
		}},
		{"other pods come and go", func() error { return s.podsComeAndGo(ctx) }},
	} {
		t.Run(event.name, func(t *testing.T) {
			a := s.attack(ctx, t, slices.Concat(attackAllowed, attackForbidden))
			pause(ctx, 300*time.Millisecond)
			if err := event.happen(); err != nil {
				t.Error(err)
			}
			pause(ctx, time.Second)
			got := a.stop(t)
			t.Log(got)
			if got.passed != 0 || got.connected != 0 {
				t.Error("what policy forbids has passed")
			}
			if got.received != got.sent || got.sent == 0 || got.stalled != 0 || got.allowed == 0 {
				t.Error("what policy allows was lost")
			}
		})
	}
}

// policiesComeAndGo has policies that leave alone who reaches a, though some are of it.
func (s *scene) policiesComeAndGo(ctx context.Context) error {
	var policies string
	for i := range 5 {
		policies += np("x", fmt.Sprintf("again%d", i), `podSelector: {matchLabels: {app: a}}
ingress: [{from: [{podSelector: {matchLabels: {app: b}}}]}]`) + np("z", fmt.Sprintf("other%d", i), "podSelector: {}\npolicyTypes: [Ingress]")
	}
	if err := s.Cluster().Apply(ctx, []byte(policies)); err != nil {
		return err
	}
	pause(ctx, 500*time.Millisecond)
	for i := range 5 {
		for namespace, name := range map[string]string{"x": "again", "z": "other"} {
			err := s.Cluster().Admin().NetworkingV1().NetworkPolicies(namespace).Delete(ctx, fmt.Sprintf("%s%d", name, i), metav1.DeleteOptions{})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// podsComeAndGo has pods of no concern, one of them with the label of an attacker.
func (s *scene) podsComeAndGo(ctx context.Context) error {
	for i := range 4 {
		for _, node := range []string{"n1", "n2"} {
			pod, err := s.Node(node).AddPodLike(ctx, lab.PodOptions{
				Namespace: "x", Name: fmt.Sprintf("%s-%d", node, i), Labels: map[string]string{"app": "b", "other": node},
			})
			if err != nil {
				return err
			}
			if err := pod.Remove(); err != nil {
				return err
			}
		}
	}
	return nil
}

// attack is traffic from several pods to a.
type attack struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	result  attackResult
	streams map[string]*lab.Stream
	failure atomic.Pointer[error]
}

// attackResult is what an attack came to.
type attackResult struct {
	// sent and received are datagrams of those that may, there and back, and allowed their TCP connections, of which stalled sent something twice or
	// came to nothing.
	sent, received, allowed, stalled int64
	// passed are datagrams of those that may not, of tried, and connected their TCP connections.
	tried, passed, connected int64
}

func (r attackResult) String() string {
	return fmt.Sprintf("allowed: %d of %d datagrams, %d of %d connections at once; forbidden: %d of %d datagrams, %d connections",
		r.received, r.sent, r.allowed-r.stalled, r.allowed, r.passed, r.tried, r.connected)
}

// attack begins. Attackers go on by themselves; who may reach a is asked to.
func (s *scene) attack(ctx context.Context, t *testing.T, from []string) *attack {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	k, target := &attack{cancel: cancel, streams: map[string]*lab.Stream{}}, s.Node("n1").Pod("a")
	t.Cleanup(cancel)
	for i, name := range from {
		pod, v4 := s.podNamed(name), i%2 == 0
		if contains(attackAllowed, name) {
			stream, err := pod.Stream(ctx, target.Address(v4), time.Millisecond, 64)
			if err != nil {
				t.Fatal(err)
			}
			k.streams[name] = stream
			k.running.Go(func() { k.connects(ctx, &pod.Host, target) })
			continue
		}
		arrivals, err := target.ListenPacket("udp", netip.AddrPortFrom(target.Address(v4), 0).String())
		if err != nil {
			t.Fatal(err)
		}
		context.AfterFunc(ctx, func() { _ = arrivals.Close() })
		k.running.Go(func() { k.count(arrivals) })
		k.running.Go(func() { k.flood(ctx, &pod.Host, arrivals.LocalAddr().String()) })
		k.running.Go(func() { k.knocks(ctx, &pod.Host, target) })
	}
	return k
}

func (s *scene) podNamed(name string) *lab.Pod {
	for _, p := range s.Pods() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (k *attack) stop(t *testing.T) attackResult {
	t.Helper()
	for from, stream := range k.streams {
		got := stream.Stop()
		if got.Lost > 0 {
			t.Errorf("from %s: %s", from, got)
		}
		k.result.sent += int64(got.Sent)
		k.result.received += int64(got.Received)
	}
	k.cancel()
	k.running.Wait()
	if err := k.failure.Load(); err != nil {
		t.Errorf("allowed: %v", *err)
	}
	return k.result
}

// count counts what arrives at a.
func (k *attack) count(arrivals net.PacketConn) {
	buffer := make([]byte, 100)
	for {
		if _, _, err := arrivals.ReadFrom(buffer); err != nil {
			return // closed
		}
		atomic.AddInt64(&k.result.passed, 1)
	}
}

// flood sends a thousand datagrams a second, of which each half second's have a port of their own: what is known of a flow may forbid it longer.
func (k *attack) flood(ctx context.Context, from *lab.Host, to string) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		conn, err := from.Dial(ctx, "udp", to)
		if err != nil {
			return // ended
		}
		for range 500 {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			if _, err := conn.Write(make([]byte, 64)); err == nil {
				atomic.AddInt64(&k.result.tried, 1)
			}
		}
		_ = conn.Close()
	}
}

// attackInterval is the time between the beginnings of two connections.
const attackInterval = 50 * time.Millisecond

// knocks tries to connect, again and again.
func (k *attack) knocks(ctx context.Context, from *lab.Host, target *lab.Pod) {
	k.often(ctx, func(i int) {
		ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
		defer cancel()
		if from.Reach(ctx, target.Address(i%2 == 0), "tcp", 100) == nil {
			atomic.AddInt64(&k.result.connected, 1)
		}
	})
}

// connects has connections again and again, and counts what was not at once.
func (k *attack) connects(ctx context.Context, from *lab.Host, target *lab.Pod) {
	k.often(ctx, func(i int) {
		atomic.AddInt64(&k.result.allowed, 1)
		if err := once(from, target.Address(i%2 == 0)); err != nil {
			err = fmt.Errorf("%s: %w", from.Name, err)
			atomic.AddInt64(&k.result.stalled, 1)
			k.failure.Store(&err)
		}
	})
}

func (k *attack) often(ctx context.Context, do func(i int)) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(attackInterval)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			running.Go(func() { do(i) })
		}
	}
}

// once connects, and has a word come back, without a packet of it lost.
func once(from *lab.Host, to netip.Addr) error {
	ctx, cancel := context.WithTimeout(context.Background(), pace.Scale(5*time.Second))
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(to, lab.EchoPort).String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(pace.Scale(5 * time.Second))); err != nil {
		return err
	}
	word := []byte("a word")
	if _, err := conn.Write(word); err != nil {
		return err
	}
	if _, err := conn.Read(word); err != nil {
		return err
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if info.Total_retrans > 0 {
		return fmt.Errorf("%d segments were sent again", info.Total_retrans)
	}
	return nil
}
