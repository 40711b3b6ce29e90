package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// How long what somebody else did may last: the kernel tells of most things at once, and of WireGuard's own never.
const (
	told   = time.Second
	untold = 5 * time.Second
)

// TestByHand does to a node what an administrator's hand may do, one thing after the other: each is put right, counted once and told,
// and nothing leaves in clear meanwhile.
func TestByHand(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3})
	s.meshed(ctx, t)
	n1, n2, n3 := s.Node("n1"), s.Node("n2"), s.Node("n3")
	key2, key3 := publicKey(ctx, t, n2), publicKey(ctx, t, n3)
	cidr := n2.PodCIDRs[0].String()
	want := driftOf(ctx, t, n1)
	for _, fault := range []struct {
		name   string
		within time.Duration
		drift  int
		do     string
	}{
		{"route deleted", told, 1, "ip route delete " + cidr},
		{"address removed", told, 1, "ip address delete " + n1.MeshAddresses[0].String() + "/32 dev warren0"},
		{"link down", told, 1, "ip link set warren0 down"},
		{"MTU changed", told, 1, "ip link set warren0 mtu 1280"},
		{"nft flushed", told, 1, "nft flush ruleset"},
		{"guard deleted", told, 1, "nft delete table inet warren-mesh"},
		{"forwarding off", told, 1, "sysctl -q -w net.ipv4.ip_forward=0"},
		{"device deleted", told, 1, "ip link delete warren0"},
		{"peer removed", untold, 1, "wg set warren0 peer " + key2 + " remove"},
		{"allowed IP moved", untold, 1, "wg set warren0 peer " + key3 + " allowed-ips " + cidr + "," + n3.PodCIDRs[0].String()},
		{"allowed IP added", untold, 1, "wg set warren0 peer " + key3 + " allowed-ips 0.0.0.0/0," + n3.PodCIDRs[0].String()},
		{"default route by the underlay", told, 0, "ip route add default via 172.30.0.1 metric 7"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			want += fault.drift
			before, start := driftOf(ctx, t, n1), time.Now()
			run(ctx, t, &n1.Host, "", "sh", "-c", fault.do)
			took := eventually(ctx, t, fault.within+grace, func() error {
				if now := driftOf(ctx, t, n1); now != before+fault.drift {
					return fmt.Errorf("%d drifts counted, want %d", now-before, fault.drift)
				}
				return nil
			})
			if within := pace.Scale(fault.within); took > within {
				t.Errorf("put right after %s, want %s", took, within)
			}
			eventually(ctx, t, 5*time.Second, func() error { return quickPing(ctx, &s.pod("n1").Host, s.pod("n2").Address(true)) })
			t.Logf("put right within %s, connected within %s", took.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
		})
	}
	if got := driftOf(ctx, t, n1); got != want {
		t.Errorf("%d drifts counted in all, want %d", got, want)
	}
	events, err := s.Cluster().Admin().EventsV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, e := range events.Items {
		told = told || e.Reason == "Drift" && e.Regarding.Name == "n1"
	}
	if !told {
		t.Error("no Event tells of it")
	}
	s.sealed(ctx, t)
}

// grace is what the looking itself may take on a busy machine.
const grace = 5 * time.Second

var driftLine = regexp.MustCompile(`(?m)^warren_drift_total\{[^}]*\} (\d+)$`)

// driftOf is how many drifts a node's agent has counted.
func driftOf(ctx context.Context, t *testing.T, n *lab.Node) (total int) {
	t.Helper()
	for _, match := range driftLine.FindAllStringSubmatch(scrape(ctx, t, n), -1) {
		count, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		total += count
	}
	return total
}
