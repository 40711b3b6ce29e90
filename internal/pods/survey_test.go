package pods

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
)

// TestSurvey: what is wrong with leases and wires is found, and what is well is not.
func TestSurvey(t *testing.T) {
	l := newLocal(t)
	cidrs := []netip.Prefix{netip.MustParsePrefix(cidr4)}
	found := func() (all []string) {
		t.Helper()
		s, err := l.Survey(cidrs)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range s.Check() {
			all = append(all, f.About+": "+f.Problem)
		}
		return all
	}
	well, lost, stray := l.node.sandbox(t, "well"), l.node.sandbox(t, "lost"), l.node.sandbox(t, "stray")
	for _, s := range []*sandbox{well, lost, stray} {
		l.call(t, cni.Add, s)
	}
	l.now = l.now.Add(time.Minute)
	if got := found(); len(got) > 0 {
		t.Errorf("all is well, and it finds %v", got)
	}
	unplug(t, lost)
	if got, want := found(), []string{"10.244.3.3: leased to pod default/lost (eth0 of container " + lost.id + "), whose interface " +
		podnet.HostLink("default", "lost", "eth0") + " is gone"}; !slices.Equal(got, want) {
		t.Errorf("a pod without its wire: %q, want %q", got, want)
	}
	lost.close()
	for _, lease := range l.options.Leases.Leases() {
		if lease.Pod.Name == "stray" {
			if _, err := l.options.Leases.Release(lease.Key, l.now); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := podnet.HostLink("default", "stray", "eth0")
	want := []string{
		"10.244.3.3: leased to pod default/lost (eth0 of container " + lost.id + "), of which nothing is left",
		link + ": the interface of pod default/stray, with the addresses 10.244.3.4, has no lease",
	}
	if diff := cmp.Diff(want, found()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	cidrs = []netip.Prefix{netip.MustParsePrefix("10.244.4.0/24")}
	if got := found(); len(got) != 4 || !strings.Contains(got[0], "in none of the node's pod CIDRs (10.244.4.0/24)") {
		t.Errorf("of another pod CIDR: %q", got)
	}
	well.close()
	stray.close()
	for _, s := range []*sandbox{well, lost, stray} {
		if _, err := l.Call(t.Context(), cni.Del, cni.Request{
			ContainerID: s.id, Interface: "eth0", Args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + s.pod, Config: json.RawMessage(l.node.conf("1.1.0")),
		}); err != nil {
			t.Error(err)
		}
	}
}

// TestRelease refuses where a pod lives, and says why.
func TestRelease(t *testing.T) {
	l := newLocal(t)
	s := l.node.sandbox(t, "web")
	l.call(t, cni.Add, s)
	addr := netip.MustParseAddr("10.244.3.2")
	if _, err := l.Release(netip.MustParseAddr("10.244.3.9"), true); !errors.Is(err, ErrNotLeased) {
		t.Errorf("an address of nobody's: %v", err)
	}
	_, err := l.Release(addr, false)
	if !errors.Is(err, ErrLives) || !strings.Contains(err.Error(), "pod default/web (eth0 of container "+s.id+"), which has its network namespace") {
		t.Errorf("a pod that lives: %v", err)
	}
	unplug(t, s)
	if _, err := l.Release(addr, false); !errors.Is(err, ErrLives) {
		t.Errorf("a pod without its wire: %v", err)
	}
	s.close()
	if whose, err := l.Release(addr, false); err != nil || whose != "pod default/web (eth0 of container "+s.id+")" {
		t.Errorf("a pod that is gone: of %q, %v", whose, err)
	}
	s = l.node.sandbox(t, "next")
	defer s.close()
	l.call(t, cni.Add, s)
	if _, err := l.Release(netip.MustParseAddr("10.244.3.3"), true); err != nil {
		t.Errorf("by force: %v", err)
	}
	if left := settled(t, 0); len(left) > 0 || len(l.options.Leases.Leases()) > 0 {
		t.Errorf("left: %v, %v", left, l.options.Leases.Leases())
	}
}
