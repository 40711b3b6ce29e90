package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// TestNodes: a node is rebooted, drained, deleted, and comes back under its old name as another machine. Pods of all nodes reach each other after
// each, and of the machine that is gone the other has nothing.
func TestNodes(t *testing.T) {
	c := start(t, Options{})
	n1, n2 := c.Lab.Node("n1"), c.Lab.Node("n2")
	first := publicKey(t, n2)

	t.Run("rebooted", func(t *testing.T) {
		ready := followReady(t, c)
		if err := c.Reboot(t.Context(), n2); err != nil {
			t.Fatal(err)
		}
		started := time.Now() // what the API says until its kubelet writes is of before
		back(t, c)
		since := slices.DeleteFunc(ready()["n2"], started.After)
		assertReadyWithWarren(t, c, n2, since)
		wantPeers(t, n1, first)
	})
	t.Run("drained", func(t *testing.T) {
		shell(t, c, "kubectl create deployment web --image="+agnhostImage+" --replicas=3 -- /agnhost netexec --http-port=8080\n"+
			"kubectl rollout status deployment/web --timeout=2m\nkubectl drain n2 --ignore-daemonsets --timeout=2m\nkubectl rollout status deployment/web --timeout=2m")
		if on := shell(t, c, "kubectl get pods -l app=web -o jsonpath='{.items[*].spec.nodeName}'"); strings.Contains(on, "n2") {
			t.Errorf("pods are on %s", on)
		}
		assertConnected(t, c)
		shell(t, c, "kubectl uncordon n2\nkubectl delete deployment web")
	})
	t.Run("deleted", func(t *testing.T) {
		old := append(append([]string{}, prefixes(n2)...), first)
		shell(t, c, "kubectl delete node n2")
		began := time.Now()
		var left []string
		for deadline := began.Add(pace.Scale(30 * time.Second)); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if left = traces(t, n1, old); len(left) == 0 {
				break
			}
		}
		if len(left) > 0 {
			t.Errorf("n1 still has of n2:\n%s", strings.Join(left, "\n"))
		}
		t.Logf("n1 has nothing of n2 %s after kubectl delete node", time.Since(began).Round(time.Millisecond))
	})
	t.Run("back under its name", func(t *testing.T) {
		if err := c.Replace(t.Context(), n2); err != nil {
			t.Fatal(err)
		}
		back(t, c)
		key := publicKey(t, n2)
		if key == first {
			t.Error("another machine has the key of the one before")
		}
		wantPeers(t, n1, key)
		// That of the one before goes with its Node, when Kubernetes' garbage collector comes to it.
		if err := c.until(t.Context(), func(context.Context) error {
			if keys := strings.Fields(shell(t, c, "kubectl get nodekeys -o name")); len(keys) != 2 {
				return fmt.Errorf("there are the NodeKeys %s, want one of each node", keys)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

// back returns when all nodes are Ready and pods of all reach each other.
func back(t *testing.T, c *Cluster) {
	t.Helper()
	began := time.Now()
	for _, n := range c.Lab.Nodes() {
		if err := c.Lab.WaitPodCIDRs(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.until(t.Context(), func(ctx context.Context) error { return c.allReach(ctx) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("pods of all nodes reach each other %s after the node's containerd runs", time.Since(began).Round(100*time.Millisecond))
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	assertConnected(t, c)
}

// allReach has the pod of each node ask those of all others, once, and the API server its kubelet, to whom it may have a connection of before.
func (c *Cluster) allReach(ctx context.Context) error {
	pods, _, err := c.Echo(ctx)
	if err != nil {
		return err
	}
	for _, n := range c.Lab.Nodes() {
		if _, err := c.Client().CoreV1().Pods(pods[n.Name].Namespace).GetLogs(pods[n.Name].Name, &corev1.PodLogOptions{}).DoRaw(ctx); err != nil {
			return err
		}
		for _, other := range pods {
			if names, err := Ask(ctx, n, pods[n.Name], fmt.Sprintf("%s:%d", other.Status.PodIP, EchoPort), 1); err != nil || names[other.Name] != 1 {
				return fmt.Errorf("pod to pod, %s to %s: %v: %w", n.Name, other.Spec.NodeName, names, err)
			}
		}
	}
	return nil
}

func shell(t *testing.T, c *Cluster, lines string) string {
	t.Helper()
	out, err := c.Shell(t.Context(), lines)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func publicKey(t *testing.T, n *lab.Node) string {
	t.Helper()
	key, err := n.Run(t.Context(), "wg", "show", "warren0", "public-key")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(key)
}

// wantPeers wants a node to have this peer and no other.
func wantPeers(t *testing.T, n *lab.Node, key string) {
	t.Helper()
	peers, err := n.Run(t.Context(), "wg", "show", "warren0", "peers")
	if err != nil || strings.TrimSpace(peers) != key {
		t.Errorf("%s has the peers %q, %v, want %s", n.Name, peers, err, key)
	}
}

// prefixes are those of a node's pods, and its mesh addresses, as routes have them.
func prefixes(n *lab.Node) (all []string) {
	for _, p := range n.PodCIDRs {
		all = append(all, p.String())
	}
	for _, a := range n.MeshAddresses {
		all = append(all, a.String())
	}
	return all
}

// traces are the lines of what a node's kernel holds that have one of these words.
func traces(t *testing.T, n *lab.Node, words []string) (lines []string) {
	t.Helper()
	out, err := n.Run(t.Context(), "sh", "-c", "wg show all dump; ip -4 route show table all; ip -6 route show table all; nft list table inet warren-mesh; nft list table inet warren-policy")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		for _, word := range words {
			if strings.Contains(line, word) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}
