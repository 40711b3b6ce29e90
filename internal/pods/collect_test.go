package pods

import (
	"encoding/json"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// local is the pods of the node that the tests are on, without an agent's process, at a time that the test says.
type local struct {
	*Pods
	node *node
	now  time.Time
}

func newLocal(t *testing.T) *local {
	t.Helper()
	n := newNode(t, cidr4)
	leases, err := journal.Open(t.TempDir(), func() ([]ipam.Lease, error) { return nil, nil }, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leases.Close() })
	guard, err := newGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guard.Close() })
	l := &local{node: n, now: time.Now()}
	l.Pods = New(Options{
		Leases: leases, Guard: guard, Now: func() time.Time { return l.now },
		Network: func() (Network, error) {
			return Network{CIDRs: []netip.Prefix{netip.MustParsePrefix(cidr4)}, MTU: 1400}, nil
		},
	})
	return l
}

func (l *local) call(t *testing.T, command cni.Command, s *sandbox) {
	t.Helper()
	_, err := l.Call(t.Context(), command, cni.Request{
		ContainerID: s.id, NetNS: s.path(), Interface: "eth0", Args: "K8S_POD_NAMESPACE=default;K8S_POD_UID=u-" + s.id + ";K8S_POD_NAME=" + s.pod,
		Config: json.RawMessage(l.node.conf("1.1.0")),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func unplug(t *testing.T, s *sandbox) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "del", podnet.HostLink("default", s.pod, "eth0")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestCollectAbsent: what the API server does not have is taken where its wire is gone too, on the second look; what lives never is.
func TestCollectAbsent(t *testing.T) {
	l := newLocal(t)
	var all []*sandbox
	for _, pod := range []string{"listed", "forced", "unwired", "returned"} {
		s := l.node.sandbox(t, pod)
		defer s.close()
		l.call(t, cni.Add, s)
		all = append(all, s)
	}
	defer func() {
		for _, s := range all {
			l.call(t, cni.Del, s)
		}
	}()
	unplug(t, all[0])
	unplug(t, all[2])
	unplug(t, all[3])
	listed := []string{"listed"}
	look := func(after time.Duration, asked time.Time, wantAgain bool, want ...string) {
		t.Helper()
		l.now = l.now.Add(after)
		taken, again, err := l.CollectAbsent(func(p ipam.Pod) bool { return slices.Contains(listed, p.Name) }, asked)
		if err != nil || again != wantAgain {
			t.Errorf("after %s: again %v, %v", after, again, err)
		}
		var got []string
		for _, lease := range taken {
			got = append(got, lease.Pod.Name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("after %s: took %v, want %v", after, got, want)
		}
	}
	look(time.Second, l.now.Add(-time.Hour), false) // An answer of before them.
	look(time.Minute, l.now.Add(time.Minute), true)
	look(apart/2, l.now.Add(time.Minute), true)
	listed = append(listed, "returned")
	look(0, l.now.Add(time.Minute), true)
	listed = listed[:1]
	if taken, err := l.Collect(); len(taken) > 0 || err != nil { // Another kind of look says nothing.
		t.Errorf("took %v, %v", taken, err)
	}
	look(apart/2, l.now.Add(time.Minute), true, "unwired")
	look(apart, l.now.Add(time.Minute), false, "returned")
	look(apart, l.now.Add(time.Minute), false)
	if got := len(l.options.Leases.Leases()); got != 2 {
		t.Errorf("%d leases are left, want those of what is listed or has its wire", got)
	}
}
