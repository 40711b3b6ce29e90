package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

const (
	nextVersion = "v0.0.0-other" // which e2e/vm has built
	// maxReady is how long after Warren serves a node its Node may take to be Ready.
	maxReady = 5 * time.Second
	// maxTunnelGap is how long pods may be silent while a node's userspace device moves to another process: kubelet ends a pod and starts another.
	maxTunnelGap = 5 * time.Second
)

// TestRollout: a node is Ready when Warren serves it, soon and no earlier. The agents are rolled to another version and back while pods of two nodes
// talk, which costs not one packet: the userspace device is in another pod. That one is replaced only when somebody deletes it; then pods
// pause, and their connections go on.
func TestRollout(t *testing.T) {
	c := start(t, Options{CNI: None})
	ready := followReady(t, c)
	if err := c.Install(t.Context(), Warren); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Lab.Nodes() {
		assertReadyWithWarren(t, c, n, ready()[n.Name])
	}
	assertConnected(t, c) // a node's first handshake may take a second try, 5 s later
	next, err := c.MakeVersion(t.Context(), nextVersion)
	if err != nil {
		t.Fatal(err)
	}
	first, tunnelGap := agentVersions(t, c), maxTunnelGap
	if ofKernel(t, c) {
		tunnelGap = 0 // nothing depends on that pod
	}
	rolled := fmt.Sprintf("kubectl rollout status -n kube-system daemonset/warren --timeout=%s", pace.Scale(3*time.Minute))
	for _, step := range []struct {
		name, lines, version string
		maxGap               time.Duration
	}{
		{"nothing", "sleep 3", first, 0},
		{"upgrade", "kubectl set image -n kube-system daemonset/warren '*=" + next + "'\n" + rolled, nextVersion, 0},
		{"rollback", "kubectl rollout undo -n kube-system daemonset/warren\n" + rolled, first, 0},
		{"tunnel", "kubectl delete pod -n kube-system -l app.kubernetes.io/component=tunnel --field-selector spec.nodeName=n1\n" +
			"until [ $(kubectl get ds -n kube-system warren-tunnel -o jsonpath={.status.numberReady}) = 2 ]; do sleep 0.2; done", first, tunnelGap},
	} {
		t.Run(step.name, func(t *testing.T) {
			traffic := startTraffic(t, c)
			out, err := c.Shell(t.Context(), step.lines)
			if err != nil {
				t.Error(err)
			}
			t.Log(out)
			traffic.assert(t, step.maxGap)
			if got := agentVersions(t, c); got != step.version {
				t.Errorf("the agents are of version %q, want %q", got, step.version)
			}
		})
	}
	assertConnected(t, c)
}

// ofKernel says whether the nodes' devices are the kernel's WireGuard.
func ofKernel(t *testing.T, c *Cluster) bool {
	t.Helper()
	out, err := c.Lab.Nodes()[0].Run(t.Context(), "ip", "-details", "link", "show", "warren0")
	if err != nil {
		t.Fatal(err)
	}
	kernel := strings.Contains(out, "\n    wireguard ")
	t.Logf("the kernel's WireGuard: %v", kernel)
	return kernel
}

// followReady notes whenever a Node is seen to have become Ready.
func followReady(t *testing.T, c *Cluster) (seen func() map[string][]time.Time) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	nodes, err := c.Client().CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done, when, was := make(chan struct{}), map[string][]time.Time{}, map[string]bool{}
	go func() {
		defer close(done)
		for event := range nodes.ResultChan() {
			n, ok := event.Object.(*corev1.Node)
			if !ok {
				continue
			}
			ready, _ := Ready(n)
			if ready && !was[n.Name] {
				when[n.Name] = append(when[n.Name], time.Now())
			}
			was[n.Name] = ready
		}
	}()
	return func() map[string][]time.Time {
		stop()
		<-done
		return when
	}
}

// assertReadyWithWarren: a node that has started has become Ready once, and not before Warren serves it, which is from when the runtime finds its
// configuration.
func assertReadyWithWarren(t *testing.T, c *Cluster, n *lab.Node, ready []time.Time) {
	t.Helper()
	if len(ready) != 1 {
		t.Fatalf("%s has become Ready at %s, want once", n.Name, ready)
	}
	info, err := os.Lstat(filepath.Join(c.root(n.Name), "etc/cni/net.d/10-warren.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	after := ready[0].Sub(info.ModTime())
	t.Logf("%s: Ready %s after Warren served it", n.Name, after.Round(time.Millisecond))
	if after < 0 || after > pace.Scale(maxReady) {
		t.Errorf("%s: Ready %s after Warren served it, want 0 to %s", n.Name, after, maxReady)
	}
}

// agentVersions is what all agents say that they are.
func agentVersions(t *testing.T, c *Cluster) (version string) {
	t.Helper()
	for _, n := range c.Lab.Nodes() {
		out, err := n.Run(t.Context(), "warren", "status")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(out, "version: ")
		said, _, _ := strings.Cut(after, "\n")
		if version != "" && said != version {
			t.Errorf("%s runs version %s, another %s", n.Name, said, version)
		}
		version = said
	}
	return version
}

// traffic is between the pods of n1 and n2: numbered packets each way, and a TCP connection.
type traffic struct {
	guests  []*lab.Guest
	streams []*lab.Stream
	flow    *lab.Flow
}

func startTraffic(t *testing.T, c *Cluster) *traffic {
	t.Helper()
	pods, _, err := c.Echo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &traffic{}
	for _, name := range []string{"n1", "n2"} {
		g, err := c.Guest(pods[name])
		if err != nil {
			t.Fatal(err)
		}
		w.guests = append(w.guests, g)
	}
	for i, g := range w.guests {
		s, err := g.Stream(t.Context(), w.guests[1-i].Addresses[0], pace.Scale(2*time.Millisecond), 64)
		if err != nil {
			t.Fatal(err)
		}
		w.streams = append(w.streams, s)
	}
	if w.flow, err = w.guests[0].Flow(t.Context(), w.guests[1].Addresses[0]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // of undisturbed traffic
	return w
}

// assert ends the traffic. None of it may be lost, or where maxGap is set no longer a time of it than that; a connection loses nothing.
func (w *traffic) assert(t *testing.T, maxGap time.Duration) {
	t.Helper()
	time.Sleep(2*time.Second + 2*maxGap) // what comes late of what happened, and what TCP sends again
	for i, s := range w.streams {
		udp := s.Stop()
		t.Logf("UDP from %s: %s", w.guests[i].Name, udp)
		if udp.Received == 0 || maxGap == 0 && udp.Lost > 0 || maxGap > 0 && udp.LongestGap > pace.Scale(maxGap) {
			t.Errorf("UDP from %s: %s; want at most a gap of %s", w.guests[i].Name, udp, maxGap)
		}
	}
	tcp := w.flow.Stop()
	t.Logf("TCP: %s", tcp)
	if tcp.Err != nil || tcp.Returned == 0 || tcp.Returned != tcp.Sent {
		t.Errorf("TCP: %s; want all of it back", tcp)
	}
	for _, g := range w.guests {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
