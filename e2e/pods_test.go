package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/cni"
)

// TestPodsComeAndGo: by a real agent, on a node with room for few: until no address is free, which is said, and beyond its restarts.
func TestPodsComeAndGo(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	const room = 13 // of a /28, less its own, the mesh's and the last address
	s := newScene(ctx, t, lab.Options{Nodes: 2, NodeMask4: 28})
	s.meshed(ctx, t)
	n1 := s.Node("n1")
	wantConflist(t, n1)
	for i := len(n1.Pods()); i < room; i++ {
		if i == room/2 {
			if err := n1.KillAgent(); err != nil {
				t.Fatal(err)
			}
			s.startAgent(ctx, t, n1)
		}
		s.addPod(ctx, t, n1, fmt.Sprint("more-", i))
	}
	_, err := n1.AddPod(ctx, "late")
	var e *types.Error
	if !errors.As(err, &e) || e.Code != cni.ErrNoAddress || !strings.Contains(e.Error(), fmt.Sprintf("%s: %d of %d leased", n1.PodCIDRs[0], room, room)) {
		t.Errorf("a pod too many: %v", err)
	}
	eventually(ctx, t, 20*time.Second, func() error { return s.poolFull(ctx, "n1") })
	s.takesBack(ctx, t, n1, room)
	seen := map[netip.Addr]bool{}
	for _, p := range n1.Pods() {
		if seen[p.Addresses[0]] {
			t.Errorf("%s is two pods'", p.Addresses[0])
		}
		seen[p.Addresses[0]] = true
	}
	s.meshed(ctx, t)
	for _, p := range n1.Pods()[1:] {
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	}
	eventually(ctx, t, 5*time.Second, func() error {
		if links := run(ctx, t, &n1.Host, "", "ip", "-o", "link", "show", "type", "veth"); strings.Count(links, ": wrp") != 1 {
			return fmt.Errorf("links are left:\n%s", links)
		}
		return nil
	})
	s.sealed(ctx, t)
}

// takesBack takes a pod's interface away whose namespace stays, and which the API server has no more, so that the address is taken back.
func (s *scene) takesBack(ctx context.Context, t *testing.T, n *lab.Node, room int) {
	t.Helper()
	if out := run(ctx, t, &n.Host, "", "warren", "ipam", "check"); out != "nothing is wrong\n" {
		t.Errorf("warren ipam check: %s", out)
	}
	lost := n.Pods()[1]
	if err := s.Cluster().Admin().CoreV1().Pods(lost.Namespace).Delete(ctx, lost.ObjectName, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, &lost.Host, "", "ip", "link", "del", "eth0")
	eventually(ctx, t, 90*time.Second, func() error {
		time.Sleep(100 * time.Millisecond)
		out, err := n.Run(ctx, "warren", "ipam", "show")
		if want := fmt.Sprintf("%s: %d of %d leased, 1 released", n.PodCIDRs[0], room-1, room); err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("warren ipam show says %q, want %q", out, want)
		}
		return err
	})
	if err := lost.Remove(); err != nil {
		t.Error(err)
	}
}

// TestPodsWithoutTheAPIServer: they come and go, and follow the lane's MTU, by an agent that was started meanwhile.
func TestPodsWithoutTheAPIServer(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n1 := s.Node("n1")
	s.saved(ctx, t, n1, 1)
	if err := s.Cluster().StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := n1.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.pod("n1").Remove(); err != nil {
		t.Errorf("a pod goes while the agent is away: %v", err)
	}
	if err := n1.StartAgent(ctx, "--mtu", "1300"); err != nil {
		t.Fatal(err)
	}
	s.addPod(ctx, t, n1, "p1")
	s.meshed(ctx, t)
	const want = " mtu 1300 "
	if got := run(ctx, t, &s.pod("n1").Host, "", "ip", "-o", "link", "show", "eth0"); !strings.Contains(got, want) {
		t.Errorf("the pod's link: %s", got)
	}
	s.sealed(ctx, t)
}

// wantConflist wants the configuration as the agent writes it, and the plugin that it names.
func wantConflist(t *testing.T, n *lab.Node) {
	t.Helper()
	const want = `{
  "cniVersion": "1.0.0",
  "name": "warren",
  "plugins": [
    {
      "type": "warren-cni",
      "socket": "/run/warren/agent.sock",
      "capabilities": {
        "ips": true,
        "mac": true
      }
    }
  ]
}
`
	conflist, plugin := filepath.Join(n.CNIConfDir(), "10-warren.conflist"), filepath.Join(n.CNIBinDir(), "warren-cni")
	err := n.Inside(func() error {
		text, err := os.ReadFile(conflist)
		if diff := cmp.Diff(want, string(text)); diff != "" {
			t.Errorf("the CNI configuration (-want +got):\n%s", diff)
		}
		for path, mode := range map[string]os.FileMode{conflist: 0o644, plugin: 0o755} {
			if info, err := os.Stat(path); err != nil || info.Mode() != mode {
				t.Errorf("%s: %v, %v", path, info, err)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(n.CNIConfDir()); err != nil || len(entries) != 1 {
		t.Errorf("%s has %v, %v", n.CNIConfDir(), entries, err)
	}
}

// poolFull is an error unless there is an Event on the Node which says that its addresses are used up.
func (s *scene) poolFull(ctx context.Context, node string) error {
	events, err := s.Cluster().Admin().EventsV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, event := range events.Items {
		if event.Reason == "PoolFull" && event.Regarding.Name == node && strings.Contains(event.Note, "no address is free in 10.244.") {
			return nil
		}
	}
	return errors.New("no Event says that the pool is full")
}
