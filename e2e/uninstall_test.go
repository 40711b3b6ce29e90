package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab"
)

// uninstall are the arguments of warren: where a node of the lab has its CNI configuration and plugin.
func uninstall(n *lab.Node) []string {
	return []string{"uninstall", "--cni-conf-dir=" + n.CNIConfDir(), "--cni-bin-dir=" + n.CNIBinDir()}
}

// TestUninstall: after it a node is as it was before its agent's first start, whatever else there is: on n1 firewalls and a
// WireGuard device of somebody else, on n2 an empty folder for WireGuard's sockets, on n3 what is left of a lane that died.
func TestUninstall(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := bareScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	n1, n2, n3 := s.Node("n1"), s.Node("n2"), s.Node("n3")
	addTheirs(ctx, t, n1)
	run(ctx, t, &n2.Host, "", "mkdir", "/var/run/wireguard")
	before := map[*lab.Node]string{n1: snapshot(ctx, t, s, n1), n2: snapshot(ctx, t, s, n2), n3: snapshot(ctx, t, s, n3)}
	running := map[*lab.Node]int{n1: len(processes(t, n1)), n2: 0, n3: 0}

	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
		s.addPod(ctx, t, n, "p1")
	}
	s.meshed(ctx, t)
	podsConnect(ctx, t, s)
	for _, n := range s.Nodes() {
		refusesToUninstall(ctx, t, s, n, "warrend is running on this node")
		if err := n.StopAgent(ctx); err != nil {
			t.Fatal(err)
		}
	}
	gated := filepath.Join(n1.CNIConfDir(), "20-theirs.conflist")
	const theirs = `{"cniVersion": "1.0.0", "name": "theirs", "plugins": [{"type": "bridge"}, {"type": "warren-cni", "gate": true}]}`
	if err := os.WriteFile(gated, []byte(theirs), 0o600); err != nil {
		t.Fatal(err)
	}
	refusesToUninstall(ctx, t, s, n1, gated+" chains warren-cni")
	dieOut(ctx, t, n3)
	for _, n := range s.Nodes() {
		arguments := uninstall(n)
		if n == n1 {
			arguments = append(arguments, "--force")
		}
		said := run(ctx, t, &n.Host, "", "warren", arguments...)
		t.Logf("%s: warren uninstall:\n%s", n.Name, said)
		wantSaid(t, n, said, n != n3)
		if diff := cmp.Diff(before[n], snapshot(ctx, t, s, n)); diff != "" {
			t.Errorf("%s is not as it was (-before +after):\n%s", n.Name, diff)
		}
		if said := run(ctx, t, &n.Host, "", "warren", arguments...); said != "" {
			t.Errorf("%s: there was something left to remove the second time:\n%s", n.Name, said)
		}
		if left := processes(t, n); len(left) != running[n] {
			t.Errorf("%s has processes left: %v", n.Name, left)
		}
	}
	if err := os.Remove(gated); err != nil {
		t.Error(err)
	}
	for _, n := range s.Nodes() {
		if err := n.Pod("p1").Remove(); err != nil {
			t.Error(err)
		}
		s.startAgent(ctx, t, n)
		s.addPod(ctx, t, n, "p2")
	}
	s.meshed(ctx, t)
	podsConnect(ctx, t, s)
	s.sealed(ctx, t)
}

func snapshot(ctx context.Context, t *testing.T, s *scene, n *lab.Node) string {
	t.Helper()
	text, err := s.Snapshot(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// refusesToUninstall for this reason, and changes nothing.
func refusesToUninstall(ctx context.Context, t *testing.T, s *scene, n *lab.Node, why string) {
	t.Helper()
	before := snapshot(ctx, t, s, n)
	out, err := n.Command(ctx, "warren", uninstall(n)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), why) {
		t.Errorf("%s: warren uninstall: %v, %s, want %q", n.Name, err, out, why)
	}
	if diff := cmp.Diff(before, snapshot(ctx, t, s, n)); diff != "" {
		t.Errorf("%s: warren uninstall refused and changed (-before +after):\n%s", n.Name, diff)
	}
}

// dieOut leaves of a lane only its tunnel process's socket, and of one of the kernel's, which has no such process, nothing.
func dieOut(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	if deviceOf(ctx, t, n) == kernel {
		t.Logf("%s: the kernel's device has no tunnel process that could die and leave its socket; the device is deleted", n.Name)
		run(ctx, t, &n.Host, "", "ip", "link", "delete", "warren0")
		return
	}
	for id, line := range processes(t, n) {
		if !strings.HasSuffix(line, "tunnel --interface warren0") {
			t.Fatalf("%s: another process than the lane's: %s", n.Name, line)
		}
		if err := unix.Kill(id, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(ctx, t, 5*time.Second, func() error {
		if left := processes(t, n); len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
	run(ctx, t, &n.Host, "", "ip", "link", "delete", "warren0")
	run(ctx, t, &n.Host, "", "test", "-S", "/var/run/wireguard/warren0.sock")
}

// wantSaid wants each kind of thing that was removed named.
func wantSaid(t *testing.T, n *lab.Node, said string, lane bool) {
	t.Helper()
	want := []string{"removed link wrp", "removed route unreachable 10.244.0.0/16", "removed nftables table inet warren-mesh", "removed nftables table inet warren-policy",
		"removed file /var/lib/warren/key", "removed file /var/lib/warren/plan", "removed file /var/lib/warren/clock", "removed file /var/lib/warren/policy",
		"removed file /var/lib/warren/leases/journal", "removed file " + n.CNIConfDir() + "/10-warren.conflist", "removed file /run/warren/10-warren.conflist", "removed file " + n.CNIBinDir() + "/warren-cni"}
	if lane {
		want = append(want, "removed link warren0 (warren.dev/lane)")
	}
	for _, line := range want {
		if !strings.Contains(said, line) {
			t.Errorf("%s: warren uninstall does not say %q", n.Name, line)
		}
	}
}
