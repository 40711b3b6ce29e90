package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestChainedPlugins: the reference plugins portmap and bandwidth work behind ours, as the agent chains them where they are installed.
func TestChainedPlugins(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := references(ctx, t, "portmap", "bandwidth")
	s := bareScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	n1, n2 := s.Node("n1"), s.Node("n2")
	installPlugins(t, dir, n1, "portmap", "bandwidth")
	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
	}
	s.addPod(ctx, t, n1, "p1")
	s.addPod(ctx, t, n2, "p1")
	const rate, burst = 80_000_000, 8_000_000 // bits
	web, err := n1.AddPodLike(ctx, lab.PodOptions{Name: "web", Asks: map[string]any{
		"portMappings": []map[string]any{
			{"hostPort": 8080, "containerPort": lab.EchoPort, "protocol": "tcp"}, {"hostPort": 8081, "containerPort": lab.EchoPort, "protocol": "udp"},
		},
		"bandwidth": map[string]any{"ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst},
	}})
	if err != nil {
		t.Fatal(err)
	}
	node := n1.Address(true)
	for proto, port := range map[string]uint16{"tcp": 8080, "udp": 8081} {
		for name, from := range map[string]*lab.Host{"another node": &n2.Host, "another node's pod": &s.pod("n2").Host, "a pod beside it": &s.pod("n1").Host} {
			if err := from.ReachPort(ctx, netip.AddrPortFrom(node, port), proto, 1000); err != nil {
				t.Errorf("%s port %d of the node, from %s: %v", proto, port, name, err)
			}
		}
	}
	s.meshed(ctx, t)
	if got := left(ctx, t, n1); len(got) != 3 {
		t.Errorf("the plugins have made %q, want rules, a rate and a link for the other direction", got)
	}
	if err := web.Remove(); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, time.Second, func() error { // Warren's link goes a moment after DEL, and its rate with it
		if got := left(ctx, t, n1); len(got) != 0 {
			return fmt.Errorf("after DEL %q are left", got)
		}
		return nil
	})
	conn, err := n2.Dial(ctx, "tcp", netip.AddrPortFrom(node, 8080).String())
	if err == nil {
		_ = conn.Close()
		t.Error("the port still leads somewhere after DEL")
	}
	s.sealed(ctx, t)
}

// references builds plugins of the CNI project, and returns the folder that they are in.
func references(ctx context.Context, t *testing.T, names ...string) (dir string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the plugins have to be built:", err)
	}
	dir, err := lab.BuildReferences(ctx, os.Stderr, names...)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// installPlugins copies plugins to where a node's runtime looks for them, before its agent starts.
func installPlugins(t *testing.T, from string, n *lab.Node, names ...string) {
	t.Helper()
	errs := []error{os.MkdirAll(n.CNIBinDir(), 0o755)}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(from, name))
		errs = append(errs, err, os.WriteFile(filepath.Join(n.CNIBinDir(), name), content, 0o755))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// left are what of the plugins' is on a node: rules for ports, token buckets on pods' links, and links to shape by what pods send.
func left(ctx context.Context, t *testing.T, n *lab.Node) (found []string) {
	t.Helper()
	for what, command := range map[string]string{
		"rules": "iptables-save -t nat | grep -e '--dport 808[01]' || true", "rates": "tc qdisc show | grep 'tbf .* dev wrp' || true",
		"links": "ip -o link show type ifb",
	} {
		out, err := n.Run(ctx, "sh", "-c", command)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(out) != "" {
			found = append(found, what)
		}
	}
	return found
}
