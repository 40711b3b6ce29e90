package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// start starts a cluster for a test, which fails if anything of it is left after its end.
func start(t *testing.T, options Options) *Cluster {
	t.Helper()
	options.Name = fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), os.Getpid())
	options.Out = t.Output()
	c, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.explanation(context.WithoutCancel(t.Context())))
		}
		assertNotDenied(t, c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		assertGone(t, options.Name)
	})
	return c
}

// assertNotDenied: of all that agents, where there were any, asked of the API server it has refused nothing.
func assertNotDenied(t *testing.T, c *Cluster) {
	t.Helper()
	if outside() {
		t.Log("what the API server refused is not looked at: it is outside of this machine, and so is its log")
		return
	}
	answered, denied, err := c.Lab.Cluster().Audit()
	if err != nil || len(denied) > 0 {
		t.Errorf("refused to agents, %v:\n%s", err, strings.Join(denied, "\n"))
	}
	t.Logf("agents asked the API server %d times, and were refused %d times", answered, len(denied))
}

// outside says whether the control plane is outside of the machine with the nodes, as it is where that is emulated.
func outside() bool { return pace.Factor() > 1 }

// assertGone fails the test if a cluster has left control groups, and with them processes, or mounts or folders.
func assertGone(t *testing.T, name string) {
	t.Helper()
	groups, err := node.Clusters()
	left, errLeft := remains()
	mounts, errMounts := os.ReadFile("/proc/self/mountinfo")
	if err := errors.Join(err, errLeft, errMounts); err != nil {
		t.Fatal(err)
	}
	for _, line := range append(append(groups, left...), strings.Split(string(mounts), "\n")...) {
		if strings.Contains(line, name) {
			t.Errorf("left: %s", line)
		}
	}
	if _, err := os.Stat(filepath.Join(lab.Base(), name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lab's folder is left: %v", err)
	}
}

// assertConnected fails the test unless every node's pod reaches every other's, by its address and by the service, and the API server reads its log.
func assertConnected(t *testing.T, c *Cluster) {
	t.Helper()
	pods, _, err := c.Echo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Lab.Nodes() {
		pod := pods[n.Name]
		if pod == nil {
			t.Fatalf("no pod of the echo service on %s", n.Name)
		}
		for _, other := range pods {
			names, err := Ask(t.Context(), n, pod, net.JoinHostPort(other.Status.PodIP, strconv.Itoa(EchoPort)), 3)
			if err != nil || names[other.Name] != 3 {
				t.Errorf("pod to pod, %s to %s: %v: %v", n.Name, other.Spec.NodeName, names, err)
			}
		}
		if _, err := c.AskService(t.Context(), n, 40); err != nil {
			t.Errorf("pod to service, from %s: %v", n.Name, err)
		}
		if outside() {
			continue // and reaches no kubelet
		}
		log, err := c.Client().CoreV1().Pods(metav1.NamespaceDefault).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil || !strings.Contains(string(log), "Started HTTP server on port 8080") {
			t.Errorf("log of %s: %v: %s", pod.Name, err, log)
		}
	}
}

// TestReference: real kubelets on the reference plugins, which says that the harness itself works.
func TestReference(t *testing.T) {
	assertConnected(t, start(t, Options{CNI: Reference}))
}

// TestWarren: nodes are NotReady until Warren serves them, and then run pods that reach each other, by WireGuard alone.
func TestWarren(t *testing.T) {
	c := start(t, Options{CNI: None})
	nodes, err := c.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		if ready, _ := Ready(&n); ready {
			t.Errorf("node %s is Ready without a network", n.Name)
		}
	}
	began := time.Now()
	if err := c.Install(t.Context(), Warren); err != nil {
		t.Fatal(err)
	}
	t.Logf("from kubectl apply to a pod on every node: %s", time.Since(began).Round(100*time.Millisecond))
	capture, err := c.Lab.Capture(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Lab.Nodes() {
		if err := capture.Control(t.Context(), n); err != nil {
			t.Error(err)
		}
	}
	assertConnected(t, c)
	capture.AssertClean(t)
}

// TestKilled: what a cluster whose owner was killed leaves is removed.
func TestKilled(t *testing.T) {
	bin, err := lab.Build(t.Context(), t.Output(), false)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("testkilled-%d", os.Getpid())
	owner := exec.CommandContext(t.Context(), filepath.Join(bin, "warren-lab"), "cluster", "up", "--foreground", "--name", name, "--nodes", "1", "--cni", "none")
	owner.Stderr = t.Output()
	out, err := owner.StdoutPipe()
	if err == nil {
		err = owner.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	up := false
	for lines := bufio.NewScanner(out); !up && lines.Scan(); {
		t.Log(lines.Text())
		up = strings.HasPrefix(lines.Text(), "KUBECONFIG=")
	}
	if err := owner.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = owner.Wait() // it was killed, and says so
	if left, err := remains(); !up || err != nil || !slices.Contains(left, name) {
		t.Errorf("up: %t, and of it there is %v, %v: nothing to remove", up, left, err)
	}
	if swept, err := Sweep(); err != nil || !slices.Contains(swept, name) {
		t.Errorf("swept %v, %v, want %s", swept, err, name)
	}
	assertGone(t, name)
}
